//! Where the sources come from: files, or the policy topic.

use std::path::Path;

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::kafka::Topics;
use crate::source::file;
use crate::source::set::{SourceSet, check_topics};
use crate::source::topic::{self, SourceStore};

/// The sources, and the changes of them. The sender is gone if there will be none.
pub type Sources = watch::Receiver<SourceSet>;

/// Reads the sources of a file or directory.
///
/// # Errors
/// If it cannot be read, a source is invalid, or there is none.
pub fn from_files(path: &Path, topics: &Topics) -> anyhow::Result<Sources> {
    let sources = file::load(path).context("check --sources")?;
    ensure!(
        !sources.is_empty(),
        "there is no source in {}: check --sources",
        path.display()
    );
    check_topics(sources.topics().keys(), topics)?;
    let (_, receiver) = watch::channel(sources);
    Ok(receiver)
}

/// Follows the sources of the policy topic until `stop`. While they cannot be used together,
/// those before them stay active, and `health` has the reason.
///
/// # Errors
/// If the thread cannot be started.
pub fn from_topic(
    config: &ClientConfig,
    topics: &Topics,
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<Sources> {
    const CONDITION: &str = "sources";
    let (sender, receiver) = watch::channel(SourceSet::default());
    health.set_not_ready(CONDITION, "reading the sources");
    let (own, shown) = (topics.clone(), health.clone());
    let on_change = move |store: &SourceStore| match usable(store, &own) {
        Ok(sources) => {
            shown.set_ready(CONDITION);
            tracing::info!(topics = sources.topics().len(), "active sources changed");
            // The receiver is gone if the process ends.
            let _ending = sender.send(sources);
        }
        Err(error) => {
            let reason = format!("{error:#}");
            tracing::error!(error = reason, "the active sources are unchanged");
            shown.set_not_ready(CONDITION, reason);
        }
    };
    topic::watch(config, &topics.policies, health, stop, on_change)?;
    Ok(receiver)
}

fn usable(store: &SourceStore, topics: &Topics) -> anyhow::Result<SourceSet> {
    let sources = store.set()?;
    check_topics(sources.topics().keys(), topics)?;
    Ok(sources)
}
