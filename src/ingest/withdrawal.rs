//! Withdraws statements about partitions that no process will read any more.
//!
//! Trackers end no session later than the least statement about any source partition, so such a
//! statement would hold them for good. There are two kinds:
//!
//! - **No source has the topic.** The statements are read first and the sources afterwards: a
//!   source that is missing then was deleted after its statement was written, or never applied.
//! - **The partition does not exist**: its topic was deleted and created again with fewer
//!   partitions, or a topic that a pattern matched was deleted. A source that names a topic which
//!   does not exist waits for it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::absences::Absences;
use super::statements::{IngestStatements, StatedPartition};
use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::TopicAdmin;
use crate::source::topic::{PublishedSources, SourceStore};

/// Withdraws statements of ingest processes with the same group prefix.
pub struct Withdrawal {
    /// `None` with sources from files: other processes may have other files.
    sources: Option<PublishedSources>,
    statements: IngestStatements,
    admin: TopicAdmin,
    clock: Clock,
    absences: Absences,
}

impl Withdrawal {
    /// Connects when it is first used. Without the `sources` of the policy topic, only statements
    /// about partitions that an existing topic does not have are withdrawn.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(
        global: &GlobalArgs,
        group: &str,
        sources: Option<PublishedSources>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            sources,
            statements: IngestStatements::new(global, group)?,
            admin: TopicAdmin::new(&global.connection.client_config()?)?,
            clock: Clock::default(),
            absences: Absences::default(),
        })
    }

    /// Withdraws the statements that no process will replace.
    ///
    /// # Errors
    /// If a topic cannot be read, brokers do not answer, or a record is not acknowledged.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let stated = self.statements.read().await?;
        let store = match &self.sources {
            Some(sources) if !stated.is_empty() => Some(sources.read(|_rejected| {}).await?),
            Some(_) | None => None,
        };
        let is_read = |(topic, _): &StatedPartition| {
            let store = store.as_ref();
            store.is_none_or(|store| names(store, topic) || matches(store, topic))
        };
        let (stated, unread): (BTreeSet<_>, BTreeSet<_>) = stated.into_iter().partition(is_read);
        self.withdraw(&unread, "no source reads the topic").await?;
        let missing = self.missing(store.as_ref(), stated).await?;
        let gone = self.absences.observe(missing, self.clock.elapsed());
        if gone.is_empty() {
            return Ok(());
        }
        self.withdraw(&gone, "the partition does not exist").await?;
        // One that was added meanwhile may have been stated about before the withdrawal.
        let counts = self.admin.partition_counts().await?;
        let back = gone.into_iter().filter(|one| !is_missing(&counts, one));
        let back: Vec<_> = back.collect();
        if !back.is_empty() {
            self.statements.hold(back).await?;
        }
        Ok(())
    }

    async fn withdraw(
        &self,
        partitions: &BTreeSet<StatedPartition>,
        reason: &str,
    ) -> anyhow::Result<()> {
        for partition in partitions {
            self.statements.withdraw(partition).await?;
            let (topic, partition) = partition;
            tracing::info!(topic, partition, reason, "withdrew a watermark");
        }
        Ok(())
    }

    /// Those of the `stated` partitions that do not exist.
    async fn missing(
        &self,
        store: Option<&SourceStore>,
        stated: BTreeSet<StatedPartition>,
    ) -> anyhow::Result<BTreeSet<StatedPartition>> {
        let find = |counts: &BTreeMap<String, i32>| {
            let is_awaited = |topic: &str| {
                !counts.contains_key(topic) && store.is_none_or(|store| names(store, topic))
            };
            let missing = stated
                .iter()
                .filter(|one| is_missing(counts, one) && !is_awaited(&one.0));
            missing.cloned().collect::<BTreeSet<_>>()
        };
        if stated.is_empty() || find(&self.admin.partition_counts().await?).is_empty() {
            return Ok(BTreeSet::new());
        }
        let counts = self.admin.confirmed_partition_counts().await?;
        let counts = counts.context("no second broker confirms that partitions are missing")?;
        Ok(find(&counts))
    }
}

fn names(store: &SourceStore, topic: &str) -> bool {
    let mut documents = store.documents();
    documents.any(|(_, document)| document.spec.topics.iter().any(|one| one == topic))
}

fn matches(store: &SourceStore, topic: &str) -> bool {
    let mut mappings = store.mappings();
    mappings.any(|mapping| mapping.reads(topic))
}

/// A topic without partitions is being created, or its metadata has an error.
fn is_missing(counts: &BTreeMap<String, i32>, (topic, partition): &StatedPartition) -> bool {
    let count = counts.get(topic);
    count.is_none_or(|count| *count > 0 && partition >= count)
}
