//! Workloads, as they are and as they change.

mod watch;

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    list::list_of,
    renderer::{Column, Kind, Pen, Shown},
};
use crate::{
    convert::resource::{Metadata, WorkloadResource, age_of},
    kube::{
        Desk,
        protocol::{
            negotiation::Form,
            options::{Asked, At, ListOptions, Page, Query, Selection, at_least},
            path::Names,
            response::{JSON, answer},
            status::Status,
        },
    },
    model::{ApiGroup, Filter, NAME_FIELD, NAMESPACE_FIELD, Workload, WorkloadKey, ZONE_LABEL},
    registry::token::{self, PageToken},
    runtime::blocking::run_blocking,
};

const FIELDS: [&str; 2] = [NAME_FIELD, NAMESPACE_FIELD];

const COLUMNS: [Column; 10] = [
    Column::name("The name that the dataplanes carry in the label kuma.io/workload."),
    Column::text("Mesh", "The mesh that holds the name."),
    Column::number("Connected", "Dataplanes with a live session."),
    Column::number("Healthy", "Connected dataplanes that report themselves healthy."),
    Column::number("Total", "Registered dataplanes."),
    Column::text("Age", "Since the first dataplane registered."),
    Column::text("Zone", "The zone that the first dataplane named.").wide(),
    Column::text("Revision", "The number of the last change.").wide(),
    Column::text("Last-Change", "Since the numbers became so.").wide(),
    Column::text("UID", "Of this life of the Workload.").wide(),
];

/// The version of the group in which Kuma has Workloads.
pub(crate) const VERSION: &str = "v1alpha1";

/// Workloads of a group.
pub(crate) fn kind(group: &ApiGroup) -> Kind {
    Kind {
        group: group.to_string(),
        api_version: format!("{group}/{VERSION}"),
        name: WorkloadResource::KIND,
        plural: "workloads",
        columns: &COLUMNS,
    }
}

/// A Workload, of which a reader is told at a revision.
pub(crate) struct Seen<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) workload: &'a Workload,
    pub(crate) revision: u64,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(kind: &'a Kind, workload: &'a Workload) -> Self {
        Self { kind, workload, revision: workload.revision }
    }
}

impl Shown for Seen<'_> {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn metadata(&self) -> Metadata<'_> {
        let identity = &self.workload.identity;
        Metadata {
            name: identity.key.name.as_str(),
            namespace: identity.key.namespace.as_str(),
            uid: Some(identity.uid),
            resource_version: Some(self.revision),
            generation: Some(1),
            creation_timestamp: Some(humantime::format_rfc3339_seconds(identity.creation_time)),
            ..Metadata::default()
        }
        .with_labels(identity.labels.iter())
    }

    fn resource(&self) -> impl Serialize {
        WorkloadResource::new(&self.kind.api_version, self.metadata(), self.workload.counts)
    }

    fn cells(&self, now: SystemTime) -> Vec<Value> {
        let (identity, counts) = (&self.workload.identity, self.workload.counts);
        vec![
            identity.key.name.as_str().into(),
            identity.mesh.as_str().into(),
            counts.connected.into(),
            counts.healthy.into(),
            counts.total.into(),
            age_of(identity.creation_time, now).into(),
            identity.labels.get(ZONE_LABEL).into(),
            self.revision.to_string().into(),
            age_of(self.workload.last_transition_time, now).into(),
            identity.uid.to_string().into(),
        ]
    }
}

/// Answers for one Workload.
pub(crate) async fn one(
    State(desk): State<Arc<Desk>>,
    Names((namespace, name)): Names<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let (kind, query) = (&desk.workloads, Query::new(query.as_deref()));
    let pen = Pen { kind: Arc::clone(kind), form: Form::of(&headers)?, include: query.include()? };
    let not_found = || Status::not_found(kind.plural, &kind.group, &name);
    // A name that nothing can have is the name of nothing.
    let key = WorkloadKey::parse(&namespace, &name).map_err(|_| not_found())?;
    let (workload, revision) = desk.registry.get(&key);
    at_least(query.at_least()?, revision)?;
    let workload = workload.ok_or_else(not_found)?;
    Ok(answer(JSON, pen.object(&Seen::new(kind, &workload), true)))
}

/// Answers for all Workloads, or for those of a namespace.
pub(crate) async fn many(
    State(desk): State<Arc<Desk>>,
    namespace: Option<Names<String>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Status> {
    let namespace = namespace.as_ref().map(|Names(namespace)| namespace.as_str());
    let (form, asked) = (Form::of(&headers)?, Query::new(query.as_deref()).options(&FIELDS)?);
    let pen = |include| Pen { kind: Arc::clone(&desk.workloads), form, include };
    match asked {
        Asked::List(options) => {
            let pen = pen(options.selection.include);
            list(&desk, pen, namespace, options)
        }
        Asked::Watch(options) => {
            let (pen, filter) = (pen(options.selection.include), filter(namespace, &options.selection));
            watch::watch(&desk, pen, filter, &options)
        }
    }
}

/// A namespace that cannot be is one in which there is nothing.
fn filter(namespace: Option<&str>, selection: &Selection) -> Filter {
    let fields = selection.fields.clone();
    let fields = match namespace {
        Some(namespace) => fields.and(NAMESPACE_FIELD, namespace),
        None => fields,
    };
    Filter { selector: selection.labels.clone(), fields, ..Filter::default() }
}

fn list(desk: &Desk, pen: Pen, namespace: Option<&str>, options: ListOptions) -> Result<Response, Status> {
    let filter = filter(namespace, &options.selection);
    let (registry, fingerprint) = (&desk.registry, filter.fingerprint());
    let (limit, at, after) = match options.page {
        Page::First { limit, at: At::Latest { at_least: least } } => {
            at_least(least, registry.head())?;
            (limit, None, None)
        }
        Page::First { limit, at: At::Exactly(revision) } => {
            at_least(revision, registry.head())?;
            (limit, Some(revision), None)
        }
        Page::Next { limit, token } => match token::read_page(registry, &token, fingerprint) {
            Ok(PageToken::Next { revision, after }) => (limit, Some(revision), Some(after)),
            Ok(PageToken::First) => (limit, None, None),
            Ok(PageToken::Stale) => return Err(stale()),
            Err(invalid) => return Err(Status::bad_request(format!("continue: {}", invalid.problem))),
        },
    };
    let page = run_blocking(|| registry.list(&filter, limit.unwrap_or(usize::MAX), at, after.as_ref()));
    let page = page.map_err(|error| Status::expired(error.to_string()))?;
    let next = page.next_after.map(|after| token::page(registry, page.revision, fingerprint, &after));
    Ok(list_of(
        pen,
        page.revision,
        &next.unwrap_or_default(),
        page.workloads,
        |pen, workload: &Arc<Workload>| pen.item(&Seen::new(&pen.kind, workload)),
    ))
}

fn stale() -> Status {
    Status::expired("The continue parameter is of another life of the server: start a new list without it.")
}

/// For what is about a Workload: the id of its life.
pub(crate) fn uid_of(desk: &Desk, key: &WorkloadKey) -> Option<uuid::Uuid> {
    desk.registry.get(key).0.map(|workload| workload.identity.uid)
}
