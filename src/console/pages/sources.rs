//! The sources, and what ingest processes make of their records.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::menu::{PageInfo, SOURCES};
use super::{NoParams, Page};
use crate::console::format::{self, Moment};
use crate::console::live::LiveState;
use crate::console::live::processes::Process;
use crate::console::state::AppState;
use crate::session::Timestamp;
use crate::source::document::SessionSource;
use crate::wire::time;

#[derive(Template, Serialize)]
#[template(path = "console/sources.html")]
pub struct SourcesPage {
    kafka_error: Option<String>,
    /// The sources of the topic, and those that ingest processes have from files.
    sources: Vec<SourceRow>,
    topic: String,
}

#[derive(Debug, Serialize)]
pub struct SourceRow {
    name: String,
    /// The source document; `None` for a source that is not in the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<SessionSource>,
    /// Live ingest processes with this generation active.
    applied: usize,
    /// Live ingest processes.
    processes: usize,
    topics: Vec<SourceTopicRow>,
}

/// What live ingest processes have made of the records of a topic since each started.
#[derive(Debug, Default, Serialize)]
pub struct SourceTopicRow {
    topic: String,
    events: u64,
    skipped: u64,
    dead_letters: u64,
    /// Partitions that a live process reads.
    partitions: usize,
    /// Records that have not been read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
    /// The least time up to which a partition has been forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_until: Option<Moment>,
}

impl Page for SourcesPage {
    type Params = NoParams;
    const INFO: PageInfo = SOURCES;

    fn build(app: &AppState, state: &LiveState, now: Timestamp, _: &NoParams) -> Self {
        let processes: Vec<_> = state.processes.of_role("ingest", now).collect();
        let mut documents: BTreeMap<&str, Option<&SessionSource>> = state
            .sources
            .documents()
            .map(|(name, document)| (name, Some(document)))
            .collect();
        let reported = processes.iter().flat_map(|one| &one.report.sources);
        for source in reported {
            documents.entry(&source.source).or_default();
        }
        let sources = documents
            .into_iter()
            .map(|(name, document)| row(name, document, &processes, now))
            .collect();
        Self {
            kafka_error: state.kafka_error.clone(),
            sources,
            topic: app.topics.policies.clone(),
        }
    }
}

fn row(
    name: &str,
    document: Option<&SessionSource>,
    processes: &[&Process],
    now: Timestamp,
) -> SourceRow {
    let mut topics: BTreeMap<&str, SourceTopicRow> = BTreeMap::new();
    for topic in document.iter().flat_map(|one| &one.spec.topics) {
        topics.entry(topic).or_default();
    }
    let mut applied = 0;
    for process in processes {
        let reported = process.report.sources.iter();
        let reported: Vec<_> = reported.filter(|one| one.source == name).collect();
        let generation = document.and_then(|document| document.metadata.generation);
        let is_current = reported
            .iter()
            .all(|one| document.is_none() || one.generation == generation);
        applied += usize::from(is_current && !reported.is_empty());
        for one in reported.into_iter().filter(|one| !one.topic.is_empty()) {
            let row = topics.entry(&one.topic).or_default();
            row.events += one.events;
            row.skipped += one.skipped;
            row.dead_letters += one.dead_letters;
            row.add_assignments(process, &one.topic);
        }
    }
    let topics = topics.into_iter().map(|(topic, row)| SourceTopicRow {
        topic: topic.to_owned(),
        forwarded_until: forwarded_until(processes, topic).map(|at| Moment::new(at, now)),
        ..row
    });
    SourceRow {
        name: name.to_owned(),
        document: document.cloned(),
        applied,
        processes: processes.len(),
        topics: topics.collect(),
    }
}

/// The least watermark of the partitions of a topic; `None` if one of them has none.
fn forwarded_until(processes: &[&Process], topic: &str) -> Option<Timestamp> {
    let assigned = processes.iter().flat_map(|one| &one.report.assignments);
    let watermarks = assigned
        .filter(|one| one.topic == topic)
        .map(|one| one.watermark.as_deref().and_then(time::parse));
    // `None` is the least.
    watermarks.min().flatten()
}

impl SourceTopicRow {
    fn add_assignments(&mut self, process: &Process, topic: &str) {
        let assigned = process.report.assignments.iter();
        for one in assigned.filter(|one| one.topic == topic) {
            self.partitions += 1;
            if let (Some(end), Some(position)) = (one.end, one.position) {
                self.lag = Some(self.lag.unwrap_or_default() + (end - position).max(0));
            }
        }
    }
}
