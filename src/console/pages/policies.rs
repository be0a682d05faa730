//! The policies, and how many trackers have applied each.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::menu::{POLICIES, PageInfo};
use super::{NoParams, Page};
use crate::console::format;
use crate::console::live::LiveState;
use crate::console::state::AppState;
use crate::policy::document::SessionPolicy;
use crate::session::Timestamp;

#[derive(Template, Serialize)]
#[template(path = "console/policies.html")]
pub struct PoliciesPage {
    kafka_error: Option<String>,
    /// The policies of the topic, and those that trackers have from other sources.
    policies: Vec<PolicyRow>,
    topic: String,
}

#[derive(Debug, Serialize)]
pub struct PolicyRow {
    name: String,
    generation: u64,
    /// The policy document; `None` for a policy that is not in the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<SessionPolicy>,
    /// Live trackers with this generation active.
    applied: usize,
    /// Live trackers.
    trackers: usize,
    /// Live sessions under the policy.
    sessions: usize,
}

impl Page for PoliciesPage {
    type Params = NoParams;
    const INFO: PageInfo = POLICIES;

    fn build(app: &AppState, state: &LiveState, now: Timestamp, _: &NoParams) -> Self {
        let trackers: Vec<_> = state.processes.trackers(now).collect();
        let mut rows: BTreeMap<String, PolicyRow> = BTreeMap::new();
        for (name, document) in state.policies.documents() {
            let row = PolicyRow {
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
            let row = rows
                .entry(policy.name.clone())
                .or_insert_with(|| PolicyRow {
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
        // The order in which trackers match policies; the built-in policy is last.
        policies.sort_by_key(|row| {
            let priority = row.document.as_ref().map(|document| document.spec.priority);
            (std::cmp::Reverse(priority), row.name.clone())
        });
        Self {
            kafka_error: state.kafka_error.clone(),
            policies,
            topic: app.topics.policies.clone(),
        }
    }
}
