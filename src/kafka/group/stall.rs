//! Partitions from which a consumer no longer receives records.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::{ClientConfig, Offset};

use super::GroupConsumer;
use crate::health::{HELPER_TIMEOUT, Health};
use crate::kafka::list_offsets::list_offsets;

/// How long an unread partition may stay at one position before brokers are asked for its end:
/// longer than the election of a new leader takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long brokers may take to answer.
const LIST_OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);
/// How many times a stalled partition is fetched again before the process gives up.
const MAX_REFETCHES: u32 = 2;

/// A partition stalled, and fetching it again did not help.
#[derive(Debug, thiserror::Error)]
#[error(
    "{topic}/{partition} stalled at offset {position} for {} s although committed records exist; restart the process",
    .stalled_for.as_secs()
)]
pub struct PartitionStalled {
    topic: String,
    partition: i32,
    position: i64,
    stalled_for: Duration,
}

/// Detects partitions from which a consumer receives no records although it could.
///
/// If brokers briefly report that a partition has no leader, librdkafka may never look for the
/// leader again and reports no error (`confluentinc/librdkafka#5430`: seen with 2.12.1, open as
/// of 2.14.1).
#[derive(Debug)]
pub struct StallDetector {
    client: ClientConfig,
    topic: String,
    health: Health,
    partitions: BTreeMap<i32, UnreadPartition>,
    /// Receives the ends of partitions while brokers are asked for them; empty if they do not
    /// answer.
    end_offsets: Option<Receiver<BTreeMap<i32, i64>>>,
}

#[derive(Debug)]
struct UnreadPartition {
    position: i64,
    since: Duration,
    ask_at: Duration,
    refetches: u32,
}

impl StallDetector {
    /// Creates a detector for a read-committed consumer of `topic` with this configuration.
    #[must_use]
    pub fn new(client: ClientConfig, topic: String, health: Health) -> Self {
        Self {
            client,
            topic,
            health,
            partitions: BTreeMap::new(),
            end_offsets: None,
        }
    }

    /// [Detects](Self::detect) stalled partitions and has the consumer fetch them again. If
    /// that fails, the error is logged and the next detection retries.
    ///
    /// # Errors
    /// [`PartitionStalled`] if a partition stays stalled after it was fetched again twice.
    pub fn check(
        &mut self,
        consumer: &GroupConsumer,
        unread: impl IntoIterator<Item = (i32, i64)>,
        now: Duration,
    ) -> Result<(), PartitionStalled> {
        let stalled = self.detect(unread, now)?;
        if !stalled.is_empty()
            && let Err(error) = consumer.refetch(&stalled)
        {
            tracing::warn!(topic = self.topic, positions = ?stalled, %error, "cannot refetch stalled partitions");
        }
        Ok(())
    }

    /// Records the position in each partition with records left to read, and returns the
    /// stalled ones. `now` is of a clock that never goes back. Call it every few seconds at
    /// most.
    ///
    /// An open transaction also keeps a partition at one position. A new client therefore asks
    /// the brokers for the end of the committed records. While no broker answers, the consumer
    /// is not at fault.
    ///
    /// # Errors
    /// [`PartitionStalled`] if a partition stays stalled after it was returned twice.
    pub fn detect(
        &mut self,
        unread: impl IntoIterator<Item = (i32, i64)>,
        now: Duration,
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        self.observe(unread, now);
        if let Some(end_offsets) = &self.end_offsets {
            let ends = match end_offsets.try_recv() {
                Ok(ends) => ends,
                Err(TryRecvError::Empty) => return Ok(Vec::new()),
                Err(TryRecvError::Disconnected) => BTreeMap::new(),
            };
            self.end_offsets = None;
            return self.compare(&ends, now);
        }
        let due = self.partitions.iter().filter(|(_, it)| it.ask_at <= now);
        let due: Vec<i32> = due.map(|(&number, _)| number).collect();
        if !due.is_empty()
            && let Err(error) = self.ask(due)
        {
            tracing::error!(%error, "cannot check for stalled partitions");
        }
        Ok(Vec::new())
    }

    fn observe(&mut self, unread: impl IntoIterator<Item = (i32, i64)>, now: Duration) {
        let mut partitions = BTreeMap::new();
        for (number, position) in unread {
            let known = self.partitions.remove(&number);
            let unmoved = known.filter(|it| it.position == position);
            let partition = unmoved.unwrap_or(UnreadPartition {
                position,
                since: now,
                ask_at: now + STALL_TIMEOUT,
                refetches: 0,
            });
            partitions.insert(number, partition);
        }
        self.partitions = partitions;
    }

    /// Asks on a thread of its own, so that the other partitions do not wait.
    fn ask(&mut self, partitions: Vec<i32>) -> io::Result<()> {
        let (client, topic) = (self.client.clone(), self.topic.clone());
        let (sender, receiver) = sync_channel(1);
        let list = move |_heartbeat| {
            let client = client.create();
            let ends = client.and_then(|client: BaseConsumer| {
                let end = Offset::End;
                list_offsets(&client, &topic, &partitions, end, LIST_OFFSETS_TIMEOUT)
            });
            let ends = ends.unwrap_or_else(|error| {
                tracing::debug!(%error, "no end offsets for stalled partitions");
                BTreeMap::new()
            });
            // The receiver is gone only while the process stops.
            let _gone = sender.send(ends);
        };
        self.health.spawn("stall", HELPER_TIMEOUT, list)?;
        self.end_offsets = Some(receiver);
        Ok(())
    }

    fn compare(
        &mut self,
        ends: &BTreeMap<i32, i64>,
        now: Duration,
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        let mut stalled = Vec::new();
        for (&partition, unread) in &mut self.partitions {
            if unread.ask_at > now {
                // Its position has advanced since the question.
                continue;
            }
            let (topic, position) = (&self.topic, unread.position);
            unread.ask_at = now + STALL_TIMEOUT;
            match ends.get(&partition) {
                Some(&end) if end > position && unread.refetches == MAX_REFETCHES => {
                    return Err(PartitionStalled {
                        topic: topic.clone(),
                        partition,
                        position,
                        stalled_for: now.saturating_sub(unread.since),
                    });
                }
                Some(&end) if end > position => {
                    unread.refetches += 1;
                    tracing::warn!(
                        topic,
                        partition,
                        position,
                        end,
                        "the partition stalled although committed records exist; refetching it"
                    );
                    stalled.push((partition, position));
                }
                Some(_) => tracing::warn!(
                    topic,
                    partition,
                    position,
                    "a producer's open transaction blocks the partition; kafka-transactions.sh find-hanging lists abandoned ones"
                ),
                None => {}
            }
        }
        Ok(stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A detector without a broker.
    fn detector() -> StallDetector {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1");
        StallDetector::new(client, "session_logs".to_owned(), Health::default())
    }

    /// Detects when an answer of the brokers is due and is this one.
    fn detect_with_ends(
        detector: &mut StallDetector,
        unread: [(i32, i64); 1],
        now: Duration,
        ends: &[(i32, i64)],
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        let (sender, receiver) = sync_channel(1);
        sender.send(ends.iter().copied().collect()).unwrap();
        detector.end_offsets = Some(receiver);
        detector.detect(unread, now)
    }

    #[test]
    fn brokers_are_not_asked_about_a_partition_that_advances() {
        let mut detector = detector();
        for round in 0..100 {
            let now = SECOND * round * 19;
            detector.detect([(0, i64::from(round))], now).unwrap();
            assert!(detector.end_offsets.is_none(), "{round}");
        }
    }

    #[test]
    fn brokers_are_asked_about_an_unmoved_partition_at_the_timeout_and_not_before() {
        let mut detector = detector();
        detector.detect([(0, 7)], Duration::ZERO).unwrap();
        detector.detect([(0, 7)], STALL_TIMEOUT - SECOND).unwrap();
        assert!(detector.end_offsets.is_none());
        detector.detect([(0, 7)], STALL_TIMEOUT).unwrap();
        assert!(detector.end_offsets.is_some());
    }

    #[test]
    fn a_partition_that_stays_stalled_after_two_refetches_is_an_error() {
        let mut detector = detector();
        detector.detect([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..=MAX_REFETCHES {
            let now = STALL_TIMEOUT * round;
            let stalled = detect_with_ends(&mut detector, [(3, 7)], now, &[(3, 8)]);
            assert_eq!(stalled.unwrap(), [(3, 7)]);
        }
        let stalled = detect_with_ends(&mut detector, [(3, 7)], STALL_TIMEOUT * 3, &[(3, 8)]);
        assert_eq!(
            stalled.unwrap_err().to_string(),
            "session_logs/3 stalled at offset 7 for 60 s although committed records exist; restart the process"
        );
    }

    #[test]
    fn a_partition_that_advances_after_a_refetch_has_both_refetches_again() {
        let mut detector = detector();
        detector.detect([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..10 {
            let now = STALL_TIMEOUT * round * 2;
            let stalled = detect_with_ends(&mut detector, [(3, 7)], now, &[(3, 9)]);
            assert_eq!(stalled.unwrap(), [(3, 7)], "{round}");
            detector.detect([(3, 8)], now).unwrap();
            detector.detect([(3, 7)], now).unwrap();
        }
    }

    #[test]
    fn an_open_transaction_or_silent_brokers_are_no_stall() {
        let mut detector = detector();
        detector.detect([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..20 {
            let ends: &[(i32, i64)] = if round % 2 == 0 { &[] } else { &[(3, 7)] };
            let now = STALL_TIMEOUT * round;
            let stalled = detect_with_ends(&mut detector, [(3, 7)], now, ends);
            assert_eq!(stalled.unwrap(), []);
        }
    }

    #[test]
    fn a_partition_that_advances_while_brokers_are_asked_is_no_stall() {
        let mut detector = detector();
        detector.detect([(3, 7)], Duration::ZERO).unwrap();
        let stalled = detect_with_ends(&mut detector, [(3, 8)], STALL_TIMEOUT, &[(3, 9)]);
        assert_eq!(stalled.unwrap(), []);
    }
}
