//! `sundown source apply`.

use anyhow::Context;

use super::args::{RESOURCE_NAME, SourceFileArgs};
use crate::output;
use crate::source::document::SessionSource;
use crate::source::topic::{PublishedSources, SourceStore, key};

pub(super) async fn run(args: &SourceFileArgs, topic: &PublishedSources) -> anyhow::Result<()> {
    let sources = args.read_valid()?;
    let store = topic.read(output::note).await?;
    let documents: Vec<_> = sources
        .into_iter()
        .map(|(document, _)| without_namespace(document))
        .collect();
    check(&store, &documents)?;
    let is_changed = |document: &&SessionSource| {
        store.document(&document.metadata.name).map(|one| &one.spec) != Some(&document.spec)
    };
    let changed = documents.iter().filter(is_changed);
    let records = changed.map(|document| (document.metadata.name.as_str(), Some(document)));
    topic.write(records).await?;
    for document in &documents {
        let name = &document.metadata.name;
        let change = match store.document(name) {
            None => "created",
            Some(active) if active.spec == document.spec => "unchanged",
            Some(_) => "configured",
        };
        output::line(format_args!("{RESOURCE_NAME}/{name} {change}"));
    }
    Ok(())
}

fn without_namespace(mut document: SessionSource) -> SessionSource {
    if let Some(namespace) = document.metadata.namespace.take() {
        let name = &document.metadata.name;
        output::note(format_args!(
            "source '{name}': ignored namespace {namespace}, which applies in Kubernetes only"
        ));
    }
    document
}

/// Checks the sources together with those that are active.
fn check(store: &SourceStore, documents: &[SessionSource]) -> anyhow::Result<()> {
    let mut merged = store.clone();
    for document in documents {
        let value = serde_json::to_vec(document)?;
        let key = key(&document.metadata.name);
        merged.apply(Some(key.as_bytes()), Some(&value))?;
    }
    merged.set().context("nothing has been written")?;
    Ok(())
}
