//! `sundown policy apply`.

use super::input::{FileArgs, RESOURCE_NAME, read_valid};
use crate::output;
use crate::policy::plan::{PlannedChange, plan};
use crate::policy::topic::PolicyTopic;

pub(super) async fn run(args: &FileArgs, topic: &PolicyTopic) -> anyhow::Result<()> {
    let policies = read_valid(&args.filename)?;
    let store = topic.read(output::note).await?;
    let documents = policies.into_iter().map(|(mut document, _)| {
        if let Some(namespace) = document.metadata.namespace.take() {
            let name = &document.metadata.name;
            output::note(format_args!(
                "policy '{name}': ignored namespace {namespace}, which applies in Kubernetes only"
            ));
        }
        document
    });
    let planned = plan(&store, documents)?;
    let changed = planned
        .iter()
        .filter(|planned| planned.change != PlannedChange::Unchanged);
    let records = changed.map(|planned| {
        let document = &planned.document;
        (document.metadata.name.as_str(), Some(document))
    });
    topic.write(records).await?;
    for planned in &planned {
        let name = &planned.document.metadata.name;
        let change = planned.change.as_str();
        output::line(format_args!("{RESOURCE_NAME}/{name} {change}"));
    }
    Ok(())
}
