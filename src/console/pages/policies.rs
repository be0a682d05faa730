//! The policies: what they say, and how far they have got.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::View;
use super::dashboard::Nothing;
use crate::console::format;
use crate::console::live::State;
use crate::console::state::AppState;
use crate::policy::document::SessionPolicy;
use crate::session::Timestamp;

/// The policies.
#[derive(Template, Serialize)]
#[template(path = "console/policies.html")]
pub struct Policies {
    trouble: Option<String>,
    /// The policies of the topic, and those that trackers go by without it.
    policies: Vec<Row>,
    topic: String,
}

/// A policy.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    generation: u64,
    /// As it was written; none for one that is not in the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<SessionPolicy>,
    /// Trackers that go by this generation.
    applied: usize,
    /// Trackers that are there.
    trackers: usize,
    /// Live sessions under it.
    sessions: usize,
}

impl View for Policies {
    type Query = Nothing;
    const TITLE: &'static str = "Policies";
    const PATH: &'static str = "/policies";

    fn build(app: &AppState, state: &State, now: Timestamp, _: &Nothing) -> Self {
        let trackers: Vec<_> = state.processes.trackers(now).collect();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (name, document) in state.policies.documents() {
            let row = Row {
                name: name.to_owned(),
                generation: document.metadata.generation.unwrap_or_default(),
                document: Some(document.clone()),
                applied: 0,
                trackers: trackers.len(),
                sessions: 0,
            };
            rows.insert(name.to_owned(), row);
        }
        for policy in trackers.iter().flat_map(|one| &one.report.policies) {
            let row = rows.entry(policy.name.clone()).or_insert_with(|| Row {
                name: policy.name.clone(),
                generation: policy.generation,
                document: None,
                applied: 0,
                trackers: trackers.len(),
                sessions: 0,
            });
            row.applied += usize::from(policy.generation == row.generation);
            row.sessions += policy.sessions.unwrap_or_default();
        }
        let mut policies: Vec<_> = rows.into_values().collect();
        // As trackers look for them: priority, then name; the built-in one at last.
        policies.sort_by_key(|row| {
            let priority = row.document.as_ref().map(|document| document.spec.priority);
            (std::cmp::Reverse(priority), row.name.clone())
        });
        Self {
            trouble: state.trouble.clone(),
            policies,
            topic: app.topics.policies.clone(),
        }
    }
}
