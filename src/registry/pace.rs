//! A flapping dataplane can't flood: its health changes for others at most once
//! in a while. The first change is seen at once; later ones are held, the newest
//! in the place of those before, until their time has come.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::model::HealthReport;

/// An open session whose reports come at its own pace.
#[derive(Debug)]
pub struct Paced {
    session: Session,
    interval: Duration,
    /// When the next change may be seen; none if it may at once.
    next_at: Option<Instant>,
    held: Option<HealthReport>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Others see a change.
    Seen,
    /// It changes nothing that others see.
    Unseen,
    /// Held, until it is [`due`](Paced::due) or a newer report takes its place.
    Held,
}

impl Paced {
    /// At most one visible change of health in each `interval`.
    pub(super) fn new(session: Session, interval: Duration) -> Self {
        Self { session, interval, next_at: None, held: None }
    }

    /// The session itself.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Notes that the dataplane said something, though nothing new.
    pub fn alive(&self) {
        self.session.heard(Instant::now());
    }

    /// Takes a report.
    pub fn report(&mut self, report: HealthReport) -> Taken {
        let now = Instant::now();
        self.session.heard(now);
        self.take(report, now)
    }

    fn take(&mut self, report: HealthReport, now: Instant) -> Taken {
        self.held = None;
        let flips = self.session.would_flip(report);
        if flips && !self.interval.is_zero() {
            if self.next_at.is_some_and(|next_at| now < next_at) {
                self.held = Some(report);
                return Taken::Held;
            }
            self.next_at = Some(now + self.interval);
        }
        self.session.report(report);
        if flips { Taken::Seen } else { Taken::Unseen }
    }

    /// When the report that is held can be [`settled`](Paced::settle).
    pub fn due(&self) -> Option<Instant> {
        self.held.and(self.next_at)
    }

    /// Takes the report that was held, if its time has come, and returns its
    /// number.
    pub fn settle(&mut self) -> Option<u64> {
        let report = self.held?;
        (self.take(report, Instant::now()) != Taken::Held).then_some(report.sequence)
    }

    /// Ends the session and the registration.
    pub fn goodbye(self) {
        self.session.goodbye();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, sleep_until};

    use super::*;
    use crate::{
        model::{Counts, Dataplane, DataplaneLimits, DataplaneSpec, Health, HealthState, WORKLOAD_LABEL},
        registry::{Endurance, Registry, RegistrySettings},
    };

    const INTERVAL: Duration = Duration::from_millis(100);

    fn report(sequence: u64, ready: bool) -> HealthReport {
        let state = if ready { HealthState::Ready } else { HealthState::NotReady };
        HealthReport { sequence, health: Health::of_proxy(state) }
    }

    fn paced() -> (Registry, Paced) {
        let registry =
            Registry::new(RegistrySettings { flap_interval: INTERVAL, ..RegistrySettings::default() });
        let label = (WORKLOAD_LABEL.to_owned(), "web".to_owned());
        let spec = DataplaneSpec {
            mesh: "default".into(),
            name: "a".into(),
            labels: [label].into(),
            ..DataplaneSpec::default()
        };
        let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).unwrap();
        let session = registry.hello(dataplane).unwrap().session;
        let paced = registry.pace(session, Endurance { silence: INTERVAL, start: Duration::ZERO });
        (registry, paced)
    }

    fn healthy(registry: &Registry) -> u32 {
        registry.snapshot().workloads.iter().map(|workload| workload.counts.healthy).sum()
    }

    async fn settled(paced: &mut Paced) -> u64 {
        sleep_until(paced.due().unwrap()).await;
        paced.settle().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_seen_at_once_and_later_ones_after_the_interval() {
        let (registry, mut paced) = paced();
        let start = Instant::now();
        assert_eq!(paced.report(report(1, true)), Taken::Seen);
        assert_eq!(healthy(&registry), 1);
        assert_eq!(paced.report(report(2, false)), Taken::Held);
        assert_eq!((healthy(&registry), paced.settle()), (1, None));
        assert_eq!(settled(&mut paced).await, 2);
        assert_eq!((healthy(&registry), start.elapsed()), (0, INTERVAL));
        // The interval begins anew with what was held.
        assert_eq!(paced.report(report(3, true)), Taken::Held);
        assert_eq!(settled(&mut paced).await, 3);
        assert_eq!((healthy(&registry), start.elapsed()), (1, 2 * INTERVAL));
        sleep(INTERVAL).await;
        assert_eq!(paced.report(report(4, false)), Taken::Seen);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_changes_few_are_seen_and_the_last_one_is() {
        let (registry, mut paced) = paced();
        let (start, revision) = (Instant::now(), registry.head());
        for sequence in 1..=1_001 {
            paced.report(report(sequence, sequence % 2 == 1));
            sleep(Duration::from_millis(1)).await;
            if paced.due().is_some_and(|due| due <= Instant::now()) {
                assert!(paced.settle().is_some());
            }
        }
        assert_eq!(start.elapsed().as_millis(), 1_001);
        let seen = registry.head() - revision;
        assert!((5..=11).contains(&seen), "{seen}");
        if paced.due().is_some() {
            assert_eq!(settled(&mut paced).await, 1_001);
        }
        assert_eq!(healthy(&registry), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_taken_back_is_never_seen() {
        let (registry, mut paced) = paced();
        paced.report(report(1, true));
        let revision = registry.head();
        assert_eq!(paced.report(report(2, false)), Taken::Held);
        assert_eq!(paced.report(report(3, true)), Taken::Unseen, "that is what is seen already");
        sleep(2 * INTERVAL).await;
        assert_eq!((paced.due(), paced.settle()), (None, None), "nothing is held");
        assert_eq!(registry.head(), revision);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_when_the_session_ends_ends_with_it() {
        let (registry, mut paced) = paced();
        paced.report(report(1, true));
        paced.report(report(2, false));
        drop(paced);
        let [lost] = registry.groups().try_into().unwrap();
        assert_eq!(lost.counts, Counts { connected: 0, healthy: 0, total: 1 });
    }
}
