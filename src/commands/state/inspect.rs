//! Compares both sides of a partition's state, as a restore does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::clock::clocks::Clocks;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_reader::{ReaderOptions, TopicReader};
use crate::output;
use crate::session::{Effect, Policy, PolicySet, Record, RecordKey, Span, TableConfig, Timestamp};
use crate::tracker::kafka::restore_log::{KafkaLog, RestoreError};
use crate::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use crate::tracker::restore::{RestoreLog, RestoreSettings, checkpoint_keys, restore};
use crate::tracker::state_hold::StateHold;
use crate::wire::event::decode::DecodeLimits;
use crate::wire::routing::{Routing, RoutingKey};

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Inspects partitions without changing anything.
pub(super) struct Inspector {
    config: ClientConfig,
    topics: Topics,
    group: String,
    /// Lists high watermarks and committed offsets.
    reader: TopicReader,
    log: KafkaLog,
}

/// Both sides of a partition's state.
#[derive(Debug, Serialize)]
pub(super) struct PartitionReport {
    pub(super) partition: i32,
    /// The reason for which trackers hold the partition, from a closed set.
    pub(super) hold: Option<&'static str>,
    /// The reason, for humans.
    pub(super) problem: Option<String>,
    /// The committed offset.
    pub(super) committed: Option<i64>,
    /// What was committed with it.
    pub(super) committed_identity: Option<LogIdentity>,
    /// How sessions are distributed, as committed.
    #[serde(skip)]
    pub(super) routing: Option<Routing>,
    /// The topics as they are.
    pub(super) actual_identity: LogIdentity,
    /// The first offset of the source partition.
    pub(super) start: i64,
    /// The end offset of the source partition.
    pub(super) end: i64,
    /// The live sessions in the checkpoint, if it can be restored.
    pub(super) sessions: Option<usize>,
}

impl Inspector {
    pub(super) fn new(global: &GlobalArgs, group: &str) -> anyhow::Result<Self> {
        let topics = global.topics.topics();
        let group = global.topics.prefixed(group);
        let config = with_group_id(&global.connection.client_config()?, &group);
        let options = ReaderOptions {
            name: "sundown-state",
            request_timeout: REQUEST_TIMEOUT,
            properties: &[],
        };
        let stop = CancellationToken::new();
        Ok(Self {
            reader: TopicReader::read_uncommitted(&config, &options)?,
            log: KafkaLog::new(&config, topics.clone(), Clock::default(), stop)?,
            config,
            topics,
            group,
        })
    }

    /// The partitions of the source topic.
    pub(super) fn partitions(&self) -> anyhow::Result<Vec<i32>> {
        let topic = &self.topics.session_logs;
        let partitions = self.reader.partitions(topic);
        let mut partitions =
            partitions.with_context(|| format!("cannot list the partitions of {topic}"))?;
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The topic of session events.
    pub(super) fn source_topic(&self) -> &str {
        &self.topics.session_logs
    }

    /// The state of a partition as checkpoint records, or why trackers would hold it.
    pub(super) fn records(
        &mut self,
        partition: i32,
        routing: Routing,
    ) -> anyhow::Result<Result<Vec<Record>, StateHold>> {
        self.log.begin(partition, None);
        let settings = RestoreSettings {
            // Activity is replayed on the partition that it belongs on.
            routing,
            ..settings(partition)?
        };
        let restored = match restore(&mut self.log, &settings) {
            Ok(restored) => restored,
            Err(RestoreError::Held(hold)) => return Ok(Err(hold)),
            Err(error) => return Err(error).context("cannot read the state"),
        };
        if let Some(degraded) = restored.degraded {
            output::note(format!(
                "partition {partition}: {degraded}; its sessions count as active now"
            ));
        }
        let position = restored.partition.position();
        let mut table = restored.partition.into_table();
        for key in checkpoint_keys(&mut self.log).context("cannot read the checkpoint")? {
            // Records that cannot be read were an error of the restore.
            if let Ok(key) = RecordKey::decode(&key) {
                table.rewrite(key);
            }
        }
        let mut effects = Vec::new();
        table.flush(position, Timestamp::MIN, 0, &mut effects);
        let stored = effects.into_iter().filter_map(|effect| match effect {
            Effect::Store(record) => Some(record),
            _ => None,
        });
        Ok(Ok(stored.collect()))
    }

    /// The keys of a checkpoint partition that have a value.
    pub(super) fn checkpoint_keys(&mut self, partition: i32) -> anyhow::Result<BTreeSet<Vec<u8>>> {
        self.log.begin(partition, None);
        checkpoint_keys(&mut self.log).context("cannot read the checkpoint")
    }

    /// How the sessions of the group are distributed over the partitions, if it has any.
    pub(super) fn stated_routing(&self) -> anyhow::Result<Option<Routing>> {
        let topic = &self.topics.session_logs;
        let committed = self.reader.committed_offsets(topic, &self.partitions()?);
        let committed = committed.context("cannot fetch the committed offsets")?;
        let mut stated = committed
            .values()
            .filter_map(|offset| OffsetMetadata::decode(&offset.metadata)?.routing);
        Ok(stated.next())
    }

    /// Whether the group has members.
    pub(super) fn has_members(&self) -> anyhow::Result<bool> {
        let client: BaseConsumer = self.config.create()?;
        let groups = client.fetch_group_list(Some(&self.group), REQUEST_TIMEOUT);
        let groups = groups.context("cannot list the members of the trackers' group")?;
        Ok(groups
            .groups()
            .iter()
            .any(|group| !group.members().is_empty()))
    }

    pub(super) fn inspect(&mut self, partition: i32) -> anyhow::Result<PartitionReport> {
        let topic = &self.topics.session_logs;
        let committed = self.reader.committed_offset(topic, partition);
        let committed = committed.context("cannot fetch the committed offset")?;
        let offsets = self.reader.partition_offsets(topic, partition);
        let offsets = offsets.with_context(|| format!("cannot list offsets of {topic}"))?;
        let settings = match self.stated_routing()? {
            Some(routing) => RestoreSettings {
                routing,
                ..settings(partition)?
            },
            None => settings(partition)?,
        };
        self.log.begin(partition, None);
        let (hold, sessions) = match restore(&mut self.log, &settings) {
            Ok(restored) => (None, Some(restored.partition.sessions())),
            Err(RestoreError::Held(hold)) => (Some(hold), None),
            Err(error) => return Err(error).context("cannot read the state"),
        };
        let metadata = committed.as_ref();
        let metadata = metadata.and_then(|it| OffsetMetadata::decode(&it.metadata));
        let actual_identity = self.log.identity();
        let actual_identity = actual_identity.context("cannot look up the topics")?;
        Ok(PartitionReport {
            partition,
            hold: hold.as_ref().map(|hold| hold.reason()),
            problem: hold.as_ref().map(ToString::to_string),
            committed: committed.map(|committed| committed.offset),
            committed_identity: metadata.map(|metadata| metadata.identity),
            routing: metadata.and_then(|metadata| metadata.routing),
            actual_identity,
            start: offsets.first,
            end: offsets.end,
            sessions,
        })
    }
}

impl PartitionReport {
    /// The state, for humans.
    pub(super) fn state(&self) -> String {
        match (&self.hold, &self.problem) {
            (Some(reason), Some(problem)) => format!("held ({reason}): {problem}"),
            _ => "consistent".to_owned(),
        }
    }

    pub(super) fn cells(&self) -> [String; 6] {
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        [
            self.partition.to_string(),
            number(self.committed.map(|offset| offset.to_string())),
            self.start.to_string(),
            self.end.to_string(),
            number(self.sessions.map(|count| count.to_string())),
            self.state(),
        ]
    }
}

/// Policies, clocks and routing do not matter: the restored sessions are only counted.
fn settings(partition: i32) -> anyhow::Result<RestoreSettings> {
    let fallback = Policy::built_in(Span::from_secs(3_600), None);
    let policies = PolicySet::new(Vec::new(), fallback)?;
    Ok(RestoreSettings {
        partition,
        routing: Routing {
            partitions: partition + 1,
            key: RoutingKey::default(),
        },
        table: TableConfig {
            max_sessions: usize::MAX,
            max_remembered: usize::MAX,
            ..TableConfig::default()
        },
        policies: Arc::new(policies),
        decode_limits: DecodeLimits::default(),
        clocks: Clocks::new(Span::ZERO),
    })
}
