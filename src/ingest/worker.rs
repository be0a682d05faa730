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
use super::progress::WorkerProgress;
use super::settings::WorkerSettings;
use super::start_offsets::start_offsets;
use super::waiting::WaitingPartitions;
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

/// Ingests one topic.
pub struct IngestWorker {
    settings: WorkerSettings,
    member: Member,
    committer: IngestCommitter,
    /// Finds committed offsets.
    reader: TopicReader,
    ends: EndOffsetWatch,
    progress: WorkerProgress,
    batch: IngestBatch,
    waiting: WaitingPartitions,
    /// Why partitions wait, as in readiness.
    waiting_problem: Option<String>,
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
            progress: WorkerProgress::new(&settings.topic, settings.stated),
            batch: IngestBatch::default(),
            waiting: WaitingPartitions::new(
                settings.common.runtime.clone(),
                settings.common.args.registries.clone(),
            ),
            waiting_problem: None,
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
            self.resume_partitions()?;
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
                    let partition = message.partition();
                    let offset = message.offset();
                    if !self.waiting.contains(partition)
                        && self.progress.accepts(partition, offset)?
                    {
                        match self.batch.add(&mapping, &message) {
                            Ok(()) => self.progress.read(partition, offset),
                            Err(missing) => {
                                self.progress.await_record(partition, offset);
                                consumer.pause(&[partition])?;
                                self.waiting.add(partition, &mapping, missing);
                            }
                        }
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

    /// Reads on in partitions whose schema has been fetched.
    fn resume_partitions(&mut self) -> anyhow::Result<()> {
        let active = Arc::clone(&self.settings.mapping.borrow());
        for partition in self.waiting.take_ready(&active) {
            if let Some(next) = self.progress.next(partition) {
                self.member.consumer().seek(partition, next)?;
            }
        }
        let problem = self.waiting.problem();
        if problem != self.waiting_problem {
            let (health, condition) = (&self.settings.common.health, &self.settings.condition);
            match &problem {
                Some(problem) => health.set_not_ready(condition.clone(), problem),
                None => health.set_ready(condition),
            }
            self.waiting_problem = problem;
        }
        Ok(())
    }

    fn handle_rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        let topic = &self.settings.topic;
        match rebalance {
            Rebalance::Assigned(ids) => {
                let starts = start_offsets(&self.reader, topic, ids)?;
                let offsets = starts.iter().map(|start| (start.partition, start.offset));
                let offsets: Vec<_> = offsets.collect();
                tracing::info!(topic, partitions = ?ids, ?offsets, "assigned");
                self.progress.assign(&starts);
                self.member.consumer().assign_from(&offsets)?;
                self.await_reset(ids)?;
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
        self.ends.watch(self.progress.partitions().collect());
        self.settings
            .common
            .metrics
            .assigned(&self.settings.topic, self.progress.partitions().len());
        Ok(())
    }

    /// Waits until librdkafka has no position in partitions from which nothing has been read since they were
    /// assigned. If they were given back before, it resets the position on a thread of its own, and what was
    /// read then but not committed would count as forwarded.
    fn await_reset(&self, ids: &[i32]) -> anyhow::Result<()> {
        let clock = self.settings.common.clock;
        let start = clock.elapsed();
        let is_known = |(partition, _): &(i32, i64)| ids.contains(partition);
        while self.member.consumer().positions().iter().any(is_known) {
            ensure!(
                clock.elapsed().saturating_sub(start) < REQUEST_TIMEOUT,
                "librdkafka keeps positions of partitions that were given back"
            );
            std::thread::sleep(IDLE_POLL);
        }
        Ok(())
    }

    fn release(&mut self, ids: &[i32]) -> anyhow::Result<()> {
        self.batch.drop_partitions(ids);
        self.progress.revoke(ids);
        self.waiting.remove(ids);
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
            match self.settings.common.shared.vouched(listed.requested_at) {
                Ok(at) => {
                    self.settings.common.health.set_ready("clock");
                    self.progress
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

    /// Commits what has been read, with backoff while transactions are aborted.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.committed_at = self.settings.common.clock.elapsed();
        let positions = self.progress.positions(&self.member.consumer().positions());
        let pending = self.progress.pending(&positions);
        if pending.is_empty() {
            self.report(&positions);
            return Ok(());
        }
        let Some(group) = self.member.consumer().group_metadata() else {
            bail!("the member is in no group");
        };
        let mut attempt = 1;
        loop {
            let outcome =
                self.committer
                    .commit(&self.batch, &pending.watermarks, &pending.positions, &group);
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
        self.progress.committed(&pending);
        self.report(&positions);
        Ok(())
    }

    /// Shows the progress in reports and metrics.
    fn report(&self, positions: &[(i32, i64)]) {
        let positions: BTreeMap<i32, i64> = positions.iter().copied().collect();
        let assignments = self.progress.partitions().map(|partition| Assignment {
            topic: self.settings.topic.clone(),
            partition,
            restoring: false,
            position: positions.get(&partition).copied(),
            end: self.last_ends.get(&partition).copied(),
            watermark: self.progress.until(partition).map(time::format),
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
        let (progress, ends) = (&self.progress, &self.last_ends);
        self.member.check(|consumer| {
            let mut unread = consumer.positions();
            unread.retain(|(partition, position)| {
                progress.next(*partition).is_some()
                    && !progress.is_awaiting(*partition)
                    && ends.get(partition).is_some_and(|end| position < end)
            });
            unread
        })
    }
}
