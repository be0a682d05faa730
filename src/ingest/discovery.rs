//! Finds the topics that patterns match.
//!
//! No session may end while its activity is in a topic that has not been found. So with patterns,
//! nothing is stated about a later time than the last listing of all topics, and before a listing
//! counts, it is stated that nothing of the topics it shows first has been forwarded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::reporting::SharedState;
use super::statements::IngestStatements;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::Topics;
use crate::kafka::topics::TopicAdmin;
use crate::session::Span;
use crate::source::mapping::Mapping;
use crate::source::set::SourceSet;

/// How often topics are listed while there are patterns.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How long after its creation a broker may not know a topic that others have records of.
const METADATA_LAG: Span = Span::from_millis(2_000);
/// The name of the condition in readiness.
const CONDITION: &str = "topic patterns";

/// Follows the topics of a cluster.
pub struct Discovery {
    admin: TopicAdmin,
    statements: IngestStatements,
    own: Topics,
    clock: Clock,
    health: Health,
    shared: SharedState,
    /// Topics that were listed last.
    existing: BTreeSet<String>,
    /// Topics that patterns matched, about whose partitions something has been stated.
    held: BTreeSet<String>,
}

impl Discovery {
    /// Lists topics by `admin`; those of the installation are its `own`.
    #[must_use]
    pub fn new(
        admin: TopicAdmin,
        statements: IngestStatements,
        own: &Topics,
        (clock, health, shared): (Clock, &Health, SharedState),
    ) -> Self {
        Self {
            admin,
            statements,
            own: own.clone(),
            clock,
            health: health.clone(),
            shared,
            existing: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// Returns the mapping of each topic that a source of `set` names or matches. While topics
    /// cannot be listed, those known before count, and statements wait.
    pub async fn topics(&mut self, set: &SourceSet) -> BTreeMap<String, Arc<Mapping>> {
        self.shared.set_patterns(set.patterns());
        if set.patterns().is_empty() {
            self.existing.clear();
            self.held.clear();
            self.health.set_ready(CONDITION);
            return set.topics().clone();
        }
        match self.list(set).await {
            Ok(()) => self.health.set_ready(CONDITION),
            Err(error) => {
                let reason = format!("cannot list topics: {error:#}");
                tracing::warn!(reason, "retrying");
                self.health.set_not_ready(CONDITION, reason);
            }
        }
        let mut topics = set.matched(&self.existing, &self.own);
        topics.extend(set.topics().clone());
        topics
    }

    async fn list(&mut self, set: &SourceSet) -> anyhow::Result<()> {
        let reading = self.clock.reading();
        let partitions = self.admin.partition_counts().await?;
        let matched = set.matched(partitions.keys(), &self.own);
        let found = matched.keys().filter(|topic| !self.held.contains(*topic));
        let found: Vec<_> = found.cloned().collect();
        if !found.is_empty() {
            let each = found.iter().flat_map(|topic| {
                let count = partitions.get(topic).copied().unwrap_or_default();
                (0..count).map(|partition| (topic.clone(), partition))
            });
            self.statements.hold(each).await?;
            tracing::info!(topics = ?found, "patterns match these topics");
        }
        self.held = matched.into_keys().collect();
        self.existing = partitions.into_keys().collect();
        // While the clocks disagree, nothing is stated anyway.
        if let Ok(at) = self.shared.lower(reading) {
            self.shared.set_listed(at - METADATA_LAG);
        }
        Ok(())
    }
}
