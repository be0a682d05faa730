//! Partitions of which nothing more comes.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::{ClientConfig, Offset};

use super::{GroupConsumer, refetch};
use crate::kafka::list_offsets::list_offsets;

/// How long a partition of which there is more may stand still before brokers are asked.
/// Longer than they take to elect another leader.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a partition is read anew before the process is given up.
const ATTEMPTS: u32 = 2;

/// A partition stood still, and reading it anew did not help.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing has come of {topic}, partition {partition}, from offset {position} on for {} s, although brokers have more of it for others; the process has to be restarted",
    .stood.as_secs()
)]
pub struct PartitionStalled {
    topic: String,
    partition: i32,
    position: i64,
    stood: Duration,
}

/// Notices partitions that a consumer does not get on with although it could.
///
/// librdkafka may lose its way to one for good if brokers say for a moment that it has no
/// leader (`confluentinc/librdkafka#5430`: seen with 2.12.1, open as of 2.14.1), and says
/// nothing of it.
#[derive(Debug)]
pub struct StallDetector {
    client: ClientConfig,
    topic: String,
    partitions: BTreeMap<i32, StalledPosition>,
    /// Where partitions end, for which brokers are being asked; empty if they do not tell.
    answer: Option<Receiver<BTreeMap<i32, i64>>>,
}

#[derive(Debug)]
struct StalledPosition {
    position: i64,
    since: Duration,
    ask_at: Duration,
    refetch: u32,
}

impl StallDetector {
    /// For a consumer of `topic` with this configuration, which reads what is committed.
    #[must_use]
    pub fn new(client: ClientConfig, topic: String) -> Self {
        Self {
            client,
            topic,
            partitions: BTreeMap::new(),
            answer: None,
        }
    }

    /// Has the consumer read partitions anew that it does not get on with; see
    /// [`look`](StallDetector::look). What brokers or librdkafka refuse is logged, and tried again
    /// when it is looked at next.
    ///
    /// # Errors
    /// [`PartitionStalled`] if one has been read anew twice, and still nothing came of it.
    pub fn check(
        &mut self,
        consumer: &GroupConsumer,
        behind: impl IntoIterator<Item = (i32, i64)>,
        now: Duration,
    ) -> Result<(), PartitionStalled> {
        let anew = self.look(behind, now)?;
        if !anew.is_empty()
            && let Err(error) = refetch(consumer, &self.topic, &anew)
        {
            tracing::warn!(topic = self.topic, positions = ?anew, %error, "cannot read anew from there");
        }
        Ok(())
    }

    /// Takes note of how far those partitions have been read of which there is more, at a
    /// time of a clock that never goes back. To be called every few seconds at most.
    /// Returns partitions that have to be read anew, and from where on.
    ///
    /// A partition that an open transaction holds up stands still as well. So brokers are
    /// asked, by a client that has heard nothing yet, whether there is more that is
    /// committed. While none answers, nothing is wrong with the consumer.
    ///
    /// # Errors
    /// [`PartitionStalled`] if one has been read anew twice, and still nothing came of it.
    pub fn look(
        &mut self,
        behind: impl IntoIterator<Item = (i32, i64)>,
        now: Duration,
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        self.note(behind, now);
        if let Some(answer) = &self.answer {
            let ends = match answer.try_recv() {
                Ok(ends) => ends,
                Err(TryRecvError::Empty) => return Ok(Vec::new()),
                Err(TryRecvError::Disconnected) => BTreeMap::new(),
            };
            self.answer = None;
            return self.judge(&ends, now);
        }
        let due = self.partitions.iter().filter(|(_, it)| it.ask_at <= now);
        let due: Vec<i32> = due.map(|(&number, _)| number).collect();
        if !due.is_empty()
            && let Err(error) = self.ask(due)
        {
            tracing::error!(%error, "cannot look why partitions stand still");
        }
        Ok(Vec::new())
    }

    fn note(&mut self, behind: impl IntoIterator<Item = (i32, i64)>, now: Duration) {
        let mut partitions = BTreeMap::new();
        for (number, position) in behind {
            let known = self.partitions.remove(&number);
            let still = known.filter(|it| it.position == position);
            let still = still.unwrap_or(StalledPosition {
                position,
                since: now,
                ask_at: now + PATIENCE,
                refetch: 0,
            });
            partitions.insert(number, still);
        }
        self.partitions = partitions;
    }

    /// Asks on a thread of its own: partitions that do not stand still are not to wait.
    fn ask(&mut self, partitions: Vec<i32>) -> io::Result<()> {
        let (client, topic) = (self.client.clone(), self.topic.clone());
        let (sender, receiver) = sync_channel(1);
        thread::Builder::new()
            .name("stall".to_owned())
            .spawn(move || {
                let client = client.create();
                let ends = client.and_then(|client: BaseConsumer| {
                    list_offsets(&client, &topic, &partitions, Offset::End, TIMEOUT)
                });
                let ends = ends.unwrap_or_else(|error| {
                    tracing::debug!(%error, "brokers do not tell where partitions end");
                    BTreeMap::new()
                });
                // Nobody listens any more if the process stops.
                let _gone = sender.send(ends);
            })?;
        self.answer = Some(receiver);
        Ok(())
    }

    fn judge(
        &mut self,
        ends: &BTreeMap<i32, i64>,
        now: Duration,
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        let mut anew = Vec::new();
        for (&partition, still) in &mut self.partitions {
            if still.ask_at > now {
                // It has moved since.
                continue;
            }
            let (topic, position) = (&self.topic, still.position);
            still.ask_at = now + PATIENCE;
            match ends.get(&partition) {
                Some(&end) if end > position && still.refetch == ATTEMPTS => {
                    return Err(PartitionStalled {
                        topic: topic.clone(),
                        partition,
                        position,
                        stood: now.saturating_sub(still.since),
                    });
                }
                Some(&end) if end > position => {
                    still.refetch += 1;
                    tracing::warn!(
                        topic,
                        partition,
                        position,
                        end,
                        "nothing more comes of the partition although brokers have more; reading it anew"
                    );
                    anew.push((partition, position));
                }
                Some(_) => tracing::warn!(
                    topic,
                    partition,
                    position,
                    "a producer's open transaction holds the partition up; kafka-transactions.sh find-hanging names those that nobody ends"
                ),
                None => {}
            }
        }
        Ok(anew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Of a topic that nobody is asked about: there is no broker.
    fn stall() -> StallDetector {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1");
        StallDetector::new(client, "session_logs".to_owned())
    }

    /// Looks once the time to ask has come, and has brokers answer this.
    fn look(
        stall: &mut StallDetector,
        behind: [(i32, i64); 1],
        now: Duration,
        ends: &[(i32, i64)],
    ) -> Result<Vec<(i32, i64)>, PartitionStalled> {
        let (sender, receiver) = sync_channel(1);
        sender.send(ends.iter().copied().collect()).unwrap();
        stall.answer = Some(receiver);
        stall.look(behind, now)
    }

    #[test]
    fn a_partition_that_gets_on_is_never_asked_about() {
        let mut stall = stall();
        for round in 0..100 {
            let now = SECOND * round * 19;
            stall.look([(0, i64::from(round))], now).unwrap();
            assert!(stall.answer.is_none(), "{round}");
        }
    }

    #[test]
    fn a_partition_that_stands_still_is_asked_about_in_time_and_not_before() {
        let mut stall = stall();
        stall.look([(0, 7)], Duration::ZERO).unwrap();
        stall.look([(0, 7)], PATIENCE - SECOND).unwrap();
        assert!(stall.answer.is_none());
        stall.look([(0, 7)], PATIENCE).unwrap();
        assert!(stall.answer.is_some());
    }

    #[test]
    fn it_is_read_anew_twice_and_then_the_process_is_given_up() {
        let mut stall = stall();
        stall.look([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..=ATTEMPTS {
            let anew = look(&mut stall, [(3, 7)], PATIENCE * round, &[(3, 8)]);
            assert_eq!(anew.unwrap(), [(3, 7)]);
        }
        let stuck = look(&mut stall, [(3, 7)], PATIENCE * 3, &[(3, 8)]);
        assert_eq!(
            stuck.unwrap_err().to_string(),
            "nothing has come of session_logs, partition 3, from offset 7 on for 60 s, although brokers have more of it for others; the process has to be restarted"
        );
    }

    #[test]
    fn what_moves_after_it_was_read_anew_begins_from_nothing() {
        let mut stall = stall();
        stall.look([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..10 {
            let now = PATIENCE * round * 2;
            let anew = look(&mut stall, [(3, 7)], now, &[(3, 9)]);
            assert_eq!(anew.unwrap(), [(3, 7)], "{round}");
            stall.look([(3, 8)], now).unwrap();
            stall.look([(3, 7)], now).unwrap();
        }
    }

    #[test]
    fn an_open_transaction_and_brokers_that_do_not_answer_are_waited_out() {
        let mut stall = stall();
        stall.look([(3, 7)], Duration::ZERO).unwrap();
        for round in 1..20 {
            let ends: &[(i32, i64)] = if round % 2 == 0 { &[] } else { &[(3, 7)] };
            let anew = look(&mut stall, [(3, 7)], PATIENCE * round, ends);
            assert_eq!(anew.unwrap(), []);
        }
    }

    #[test]
    fn what_has_moved_while_brokers_were_asked_is_left_alone() {
        let mut stall = stall();
        stall.look([(3, 7)], Duration::ZERO).unwrap();
        let anew = look(&mut stall, [(3, 8)], PATIENCE, &[(3, 9)]);
        assert_eq!(anew.unwrap(), []);
    }
}
