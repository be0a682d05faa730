//! What was done, or would be, topic by topic.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kafka::topics::{PlannedTopic, TopicAction};
use crate::output::{self, OutputArgs, table};

/// Whether the steps have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Planned,
    Done,
}

#[derive(Serialize)]
struct Line {
    topic: String,
    partitions: i32,
    /// `create` or `created`, `keep`, `differs`.
    action: &'static str,
    /// What a new topic gets; empty for the others.
    configs: BTreeMap<&'static str, String>,
    /// How an existing topic is not as it should be.
    differences: Vec<String>,
}

/// Prints the steps, and a hint where topics differ.
pub(super) fn print(
    steps: &[PlannedTopic],
    tense: Tense,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let lines: Vec<_> = steps.iter().map(|step| line(step, tense)).collect();
    output::line(output.render(lines.as_slice(), human)?);
    if steps
        .iter()
        .any(|step| matches!(step.action, TopicAction::Differs(_)))
    {
        output::note(
            "Existing topics are never changed. Change what differs with kafka-configs, with \
             the KafkaTopic resource under Strimzi, or start from nothing with: sundown topics reset",
        );
    }
    Ok(())
}

fn line(step: &PlannedTopic, tense: Tense) -> Line {
    let action = match (&step.action, tense) {
        (TopicAction::Create, Tense::Planned) => "create",
        (TopicAction::Create, Tense::Done) => "created",
        (TopicAction::Keep, _) => "keep",
        (TopicAction::Differs(_), _) => "differs",
    };
    let configs = match step.action {
        TopicAction::Create => step.spec.configs.as_slice(),
        _ => &[],
    };
    let differences = match &step.action {
        TopicAction::Differs(list) => list.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Line {
        topic: step.spec.name.clone(),
        partitions: step.spec.partitions,
        action,
        configs: configs.iter().map(|c| (c.key, c.setting.value())).collect(),
        differences,
    }
}

fn human(lines: &[Line]) -> String {
    let row = |line: &Line| {
        let configs = line
            .configs
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let details: Vec<_> = configs.chain(line.differences.iter().cloned()).collect();
        let separator = if line.differences.is_empty() {
            " "
        } else {
            "; "
        };
        [
            line.topic.clone(),
            line.partitions.to_string(),
            line.action.to_owned(),
            details.join(separator),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    table(["TOPIC", "PARTITIONS", "ACTION", "DETAILS"], &rows)
}
