//! The report of `sundown topics create`, `plan` and `reset`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kafka::topics::{PlannedTopic, TopicAction};
use crate::output::{self, OutputArgs, table};

/// Whether the steps of a plan have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlanState {
    Planned,
    Executed,
}

#[derive(Serialize)]
struct StepRow {
    topic: String,
    partitions: i32,
    /// `create` or `created`, `keep`, `differs`.
    action: &'static str,
    /// Configuration of a new topic; empty for existing topics.
    configs: BTreeMap<&'static str, String>,
    /// Differences of an existing topic from the requirements.
    differences: Vec<String>,
}

/// Prints the steps, and a hint if topics differ.
pub(super) fn print(
    steps: &[PlannedTopic],
    state: PlanState,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let rows: Vec<_> = steps.iter().map(|step| row(step, state)).collect();
    output.print(rows.as_slice(), steps_table)?;
    if steps
        .iter()
        .any(|step| matches!(step.action, TopicAction::Differs(_)))
    {
        output::note(
            "Existing topics are not changed. Correct the differences with kafka-configs or, \
             under Strimzi, in the KafkaTopic resource; or start over with: sundown topics reset",
        );
    }
    Ok(())
}

fn row(step: &PlannedTopic, state: PlanState) -> StepRow {
    let action = match (&step.action, state) {
        (TopicAction::Create, PlanState::Planned) => "create",
        (TopicAction::Create, PlanState::Executed) => "created",
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
    StepRow {
        topic: step.spec.name.clone(),
        partitions: step.spec.partitions,
        action,
        configs: configs.iter().map(|c| (c.key, c.setting.value())).collect(),
        differences,
    }
}

fn steps_table(rows: &[StepRow]) -> String {
    let cells = |row: &StepRow| {
        let configs = row
            .configs
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let details: Vec<_> = configs.chain(row.differences.iter().cloned()).collect();
        let separator = if row.differences.is_empty() {
            " "
        } else {
            "; "
        };
        [
            row.topic.clone(),
            row.partitions.to_string(),
            row.action.to_owned(),
            details.join(separator),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    table(["TOPIC", "PARTITIONS", "ACTION", "DETAILS"], &rows)
}
