//! The loop of one topic: polls, maps, commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use rdkafka::Message;
use tokio_util::sync::CancellationToken;

use super::args::std_duration;
use super::batch::IngestBatch;
use super::committer::IngestCommitter;
use super::settings::WorkerSettings;
use super::watermarks::IngestWatermarks;
use crate::health::Heartbeat;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::{Member, Membership, Rebalance, member_config};
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_ids::TopicId;
use crate::kafka::topic_reader::{ReaderOptions, TopicReader};
use crate::processes::Assignment;
use crate::wire::time;

/// How long a poll waits for the first record of a burst.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// Records between two looks at rebalances and end offsets.
const BURST: usize = 1_000;
/// Bytes of outputs beyond which a batch is committed at once.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How often a batch is attempted whose transaction was aborted.
const MAX_ATTEMPTS: u32 = 5;
/// Bounds each request for offsets.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the loop may stall before the process counts as dead: longer than the attempts of a
/// commit.
const MAX_STALL: Duration = Duration::from_secs(120);

/// How far an assigned partition has come.
struct ReadPartition {
    /// The offset of the first record that has not been read.
    next: i64,
    /// The position that is committed.
    committed: Option<i64>,
}

/// Ingests one topic.
pub struct IngestWorker {
    settings: WorkerSettings,
    member: Member,
    committer: IngestCommitter,
    /// Finds committed offsets.
    reader: TopicReader,
    ends: EndOffsetWatch,
    watermarks: IngestWatermarks,
    batch: IngestBatch,
    assigned: BTreeMap<i32, ReadPartition>,
    last_ends: BTreeMap<i32, i64>,
    /// The id of the topic, as first listed.
    topic_id: Option<Option<TopicId>>,
    committed_at: Duration,
}

impl IngestWorker {
    /// Joins the group and ingests until `stop`, then commits and leaves the group.
    ///
    /// # Errors
    /// If a commit fails or the member does; start again.
    pub fn start(settings: WorkerSettings, stop: &CancellationToken) -> anyhow::Result<()> {
        let (args, clock) = (&settings.common.args, settings.common.clock);
        let (health, condition) = (&settings.common.health, &settings.condition);
        health.set_not_ready(condition.clone(), "waiting for an assignment");
        let heartbeat = health.heartbeat(condition.clone(), MAX_STALL);
        let membership = Membership {
            group: &settings.group,
            protocol: args.group_protocol,
            session_timeout: std_duration(args.session_timeout),
            prefetch_kib: 32 * 1024,
            offset_reset: "earliest",
        };
        let config = member_config(&settings.common.config, &membership);
        let options = ReaderOptions {
            name: "ingest",
            request_timeout: REQUEST_TIMEOUT,
            properties: &[],
        };
        let reader = TopicReader::new(&config, &options)?;
        let member = Member::new(config, &settings.topic, clock, health)?;
        let transactional_id = format!("{}-{}", settings.group, settings.common.process);
        let committer = IngestCommitter::new(
            settings.common.producer.clone(),
            args.delivery,
            (&settings.group, &transactional_id),
            (&settings.topic, settings.common.topics.clone()),
            Arc::clone(member.consumer()),
        )?;
        let ends_stop = stop.child_token();
        let _ends_stop = ends_stop.clone().drop_guard();
        let ends = EndOffsetWatch::start_without_upstream(
            with_group_id(&settings.common.config, &settings.group),
            settings.topic.clone(),
            clock,
            health,
            ends_stop,
        )?;
        member.consumer().subscribe()?;
        let mut worker = Self {
            member,
            committer,
            reader,
            ends,
            watermarks: IngestWatermarks::default(),
            batch: IngestBatch::default(),
            assigned: BTreeMap::new(),
            last_ends: BTreeMap::new(),
            topic_id: None,
            committed_at: clock.elapsed(),
            settings,
        };
        worker.report(&[]);
        let result = worker.run(&heartbeat, stop);
        worker
            .settings
            .common
            .shared
            .release(&worker.settings.topic);
        result
    }

    fn run(&mut self, heartbeat: &Heartbeat, stop: &CancellationToken) -> anyhow::Result<()> {
        let interval = std_duration(self.settings.common.args.commit_interval);
        while !stop.is_cancelled() {
            heartbeat.beat();
            self.poll_burst()?;
            while let Some(rebalance) = self.member.next_rebalance() {
                self.handle_rebalance(&rebalance)?;
            }
            self.take_ends()?;
            let elapsed = self.settings.common.clock.elapsed();
            if elapsed.saturating_sub(self.committed_at) >= interval
                || self.batch.bytes() >= MAX_BATCH_BYTES
            {
                self.commit()?;
            }
            self.check_member()?;
        }
        self.settings
            .common
            .health
            .set_not_ready(self.settings.condition.clone(), "leaving the group");
        self.commit()
    }

    /// Maps the records that have arrived.
    fn poll_burst(&mut self) -> anyhow::Result<()> {
        let consumer = Arc::clone(self.member.consumer());
        let mapping = Arc::clone(&self.settings.mapping.borrow());
        let mut timeout = IDLE_POLL;
        for _ in 0..BURST {
            match consumer.poll(timeout) {
                Some(Ok(message)) => {
                    let progress = self.assigned.get_mut(&message.partition());
                    // Otherwise it was fetched before the partition was assigned or refetched.
                    if let Some(progress) = progress
                        && message.offset() >= progress.next
                    {
                        progress.next = message.offset() + 1;
                        self.batch.add(&mapping, &message);
                    }
                }
                Some(Err(error)) => consumer.check(error)?,
                None => break,
            }
            if self.batch.bytes() >= MAX_BATCH_BYTES {
                break;
            }
            timeout = Duration::ZERO;
        }
        Ok(())
    }

    fn handle_rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        let topic = &self.settings.topic;
        match rebalance {
            Rebalance::Assigned(ids) => {
                let offsets = self.start_offsets(ids)?;
                let starts: Vec<_> = offsets.iter().map(|(id, next, _)| (*id, *next)).collect();
                tracing::info!(topic, partitions = ?ids, offsets = ?starts, "assigned");
                self.watermarks.assign(ids);
                self.member.consumer().assign_from(&starts)?;
                for (partition, next, committed) in offsets {
                    let committed = committed.then_some(next);
                    self.assigned
                        .insert(partition, ReadPartition { next, committed });
                }
                self.settings
                    .common
                    .health
                    .set_ready(&self.settings.condition);
            }
            Rebalance::Revoked(ids) => {
                tracing::info!(topic, partitions = ?ids, "revoked");
                self.commit()?;
                self.release(ids)?;
            }
            Rebalance::Lost(ids) => {
                tracing::warn!(topic, partitions = ?ids, "lost");
                self.release(ids)?;
            }
        }
        self.ends.watch(self.assigned.keys().copied().collect());
        self.settings
            .common
            .metrics
            .assigned(&self.settings.topic, self.assigned.len());
        Ok(())
    }

    /// Where to start in each partition, and whether that offset is committed.
    ///
    /// librdkafka would find the offsets by itself, but would report no position for a partition
    /// without further records.
    fn start_offsets(&self, ids: &[i32]) -> anyhow::Result<Vec<(i32, i64, bool)>> {
        let topic = &self.settings.topic;
        let offsets = ids.iter().map(|&id| -> anyhow::Result<_> {
            let range = self.reader.partition_offsets(topic, id)?;
            let committed = self.reader.committed_offset(topic, id)?;
            let Some(offset) = committed.map(|committed| committed.offset) else {
                return Ok((id, range.first, false));
            };
            if (range.first..=range.end).contains(&offset) {
                return Ok((id, offset, true));
            }
            tracing::error!(topic, partition = id, offset, first = range.first, end = range.end,
                "the committed offset is outside the log: retention deleted records before they were read, or the topic was created again; starting at its first record");
            Ok((id, range.first, false))
        });
        offsets.collect()
    }

    fn release(&mut self, ids: &[i32]) -> anyhow::Result<()> {
        self.batch.drop_partitions(ids);
        self.watermarks.revoke(ids);
        for id in ids {
            self.assigned.remove(id);
        }
        Ok(self.member.consumer().unassign(ids)?)
    }

    /// Takes listed end offsets, with the time that both clocks vouch for.
    fn take_ends(&mut self) -> anyhow::Result<()> {
        while let Some(listed) = self.ends.poll() {
            let known = *self.topic_id.get_or_insert(listed.topic_id);
            ensure!(
                known == listed.topic_id,
                "the topic was deleted and created again"
            );
            self.last_ends = listed.ends.iter().copied().collect();
            match self.settings.common.shared.lower(listed.requested_at) {
                Ok(at) => {
                    self.settings.common.health.set_ready("clock");
                    self.watermarks
                        .on_end_offsets(at, listed.partition_count, &listed.ends);
                }
                Err(hold) => self
                    .settings
                    .common
                    .health
                    .set_not_ready("clock", hold.to_string()),
            }
        }
        Ok(())
    }

    /// The position in each assigned partition. librdkafka knows more than the last record, such as
    /// transaction markers after it, but no position before the first record.
    fn positions(&self) -> Vec<(i32, i64)> {
        let known: BTreeMap<i32, i64> = self.member.consumer().positions().into_iter().collect();
        let assigned = self.assigned.iter();
        assigned
            .map(|(partition, progress)| {
                let known = known.get(partition).copied();
                (*partition, known.unwrap_or_default().max(progress.next))
            })
            .collect()
    }

    /// Commits what has been read, with backoff while transactions are aborted.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.committed_at = self.settings.common.clock.elapsed();
        let positions = self.positions();
        self.watermarks.on_positions(&positions);
        let watermarks = self.watermarks.unstated(&self.settings.topic);
        let mut changed = positions.clone();
        changed.retain(|(partition, position)| {
            let progress = self.assigned.get(partition);
            progress.is_some_and(|progress| progress.committed != Some(*position))
        });
        if changed.is_empty() && watermarks.is_empty() {
            self.report(&positions);
            return Ok(());
        }
        let Some(group) = self.member.consumer().group_metadata() else {
            bail!("the member is in no group");
        };
        let mut attempt = 1;
        loop {
            let outcome = self
                .committer
                .commit(&self.batch, &watermarks, &changed, &group);
            match outcome {
                Ok(()) => break,
                Err(error) if attempt < MAX_ATTEMPTS && self.committer.may_retry(&error) => {
                    tracing::warn!(topic = self.settings.topic, %error, "commit failed; retrying");
                    self.settings.common.metrics.aborted();
                    std::thread::sleep(Duration::from_millis(100) * 2_u32.pow(attempt));
                    attempt += 1;
                }
                Err(error) => {
                    self.settings.common.metrics.aborted();
                    return Err(error.into());
                }
            }
        }
        let batch = std::mem::take(&mut self.batch);
        let counts = batch.counts();
        self.settings.common.metrics.committed(&counts);
        self.settings
            .common
            .shared
            .count(&self.settings.topic, &counts);
        self.watermarks.committed();
        for (partition, position) in changed {
            if let Some(progress) = self.assigned.get_mut(&partition) {
                progress.committed = Some(position);
            }
        }
        self.report(&positions);
        Ok(())
    }

    /// Shows the progress in reports and metrics.
    fn report(&self, positions: &[(i32, i64)]) {
        let positions: BTreeMap<i32, i64> = positions.iter().copied().collect();
        let assignments = self.assigned.keys().map(|partition| Assignment {
            topic: self.settings.topic.clone(),
            partition: *partition,
            restoring: false,
            position: positions.get(partition).copied(),
            end: self.last_ends.get(partition).copied(),
            watermark: self.watermarks.until(*partition).map(time::format),
            sessions: 0,
            paused: false,
        });
        let assignments: Vec<_> = assignments.collect();
        self.settings
            .common
            .metrics
            .show(&self.settings.topic, &assignments);
        let mapping = self.settings.mapping.borrow();
        let (shared, topic) = (&self.settings.common.shared, &self.settings.topic);
        shared.set(topic, &mapping, assignments);
    }

    fn check_member(&mut self) -> anyhow::Result<()> {
        let (assigned, ends) = (&self.assigned, &self.last_ends);
        self.member.check(|consumer| {
            let mut unread = consumer.positions();
            unread.retain(|(partition, position)| {
                assigned.contains_key(partition)
                    && ends.get(partition).is_some_and(|end| position < end)
            });
            unread
        })
    }
}
