//! Tokens that other implementations have minted; see `tests/tokens/README.md`.

use super::*;

const TOKENS: [&str; 2] = [
    include_str!("../../../../tests/tokens/golang-jwt.txt"),
    include_str!("../../../../tests/tokens/pyjwt.txt"),
];

#[test]
fn tokens_of_other_implementations_are_accepted() {
    let mut accepted = 0;
    for line in TOKENS.into_iter().flat_map(str::lines) {
        let [algorithm, kind, token] = *line.split(' ').collect::<Vec<_>>() else { panic!("{line}") };
        let key = public_key(algorithm.parse().unwrap());
        let accepting =
            verifier([(KeyUse::Mesh(mesh("default")), "1", key.clone()), (KeyUse::Users, "1", key)]);
        let verified = accepting.verify(token, now()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let user = |name: &str, groups: &[&str]| {
            let groups: Vec<_> = groups.iter().map(|group| (*group).to_owned()).collect();
            Subject::User(User::parse(name, &groups).unwrap())
        };
        let expected = match kind {
            "dataplane" => Subject::Dataplane(DataplaneGrant {
                name: Some(crate::model::DataplaneName::parse("name", "web-1").unwrap()),
                workload: Some(crate::model::WorkloadName::parse_universal("workload", "web").unwrap()),
                tags: [("team".to_owned(), ["a".to_owned(), "b".to_owned()].into())].into(),
                ..grant(Some("default"))
            }),
            "mesh" => Subject::Dataplane(grant(Some("default"))),
            "user" => user("alice@example.com", &["ops", "mesh-system:admin"]),
            "lonely" => user("bob", &[]),
            _ => panic!("{line}"),
        };
        assert_eq!(verified.subject, expected, "{line}");
        assert_eq!(verified.expires, SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568));
        accepted += 1;
    }
    assert_eq!(accepted, 24);
}
