//! Which broker leads each partition, as brokers other than the leaders say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// Bounds the metadata requests for one answer: librdkafka sends each to a random broker.
const MAX_REQUESTS: usize = 8;

/// The leaders of a topic's partitions, as one broker named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderResponse {
    /// The broker that answered; negative if that is unknown.
    pub answered_by: i32,
    /// The number of brokers in the cluster.
    pub brokers: usize,
    /// All partitions of the topic, and the broker that leads each.
    pub leaders: Vec<(i32, Option<i32>)>,
}

/// The leaders of a topic's partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaders {
    partition_count: i32,
    /// The broker that leads each partition; none for partitions without a leader.
    by_partition: BTreeMap<i32, i32>,
    /// The partitions whose leader another broker has named, or the only one that there is.
    confirmed: BTreeSet<i32>,
    /// The partitions for which brokers have named different leaders: the client may ask any of them.
    disputed: BTreeSet<i32>,
}

impl Leaders {
    pub(super) fn partition_count(&self) -> i32 {
        self.partition_count
    }

    /// Returns whether the partition has a leader.
    pub(super) fn has(&self, partition: i32) -> bool {
        self.by_partition.contains_key(&partition)
    }

    /// Returns whether the partition is certain to have had one leader since `before`, and the client knew
    /// only that one then.
    pub(super) fn confirms(&self, before: &Self, partition: i32) -> bool {
        let leader = self.by_partition.get(&partition);
        leader.is_some()
            && leader == before.by_partition.get(&partition)
            && !before.disputed.contains(&partition)
            && self.confirmed.contains(&partition)
    }

    /// Adds a response. A later one counts, unless it comes from the leader that it names.
    fn add(&mut self, response: &LeaderResponse) {
        let &LeaderResponse {
            answered_by,
            brokers,
            ref leaders,
        } = response;
        self.partition_count = i32::try_from(leaders.len()).unwrap_or(i32::MAX);
        for &(partition, leader) in leaders {
            let Some(leader) = leader else {
                self.by_partition.remove(&partition);
                self.confirmed.remove(&partition);
                continue;
            };
            let named = self.by_partition.get(&partition);
            if named.is_some_and(|named| *named != leader) {
                self.disputed.insert(partition);
            }
            let is_third_party = answered_by >= 0 && answered_by != leader || brokers == 1;
            if is_third_party {
                self.by_partition.insert(partition, leader);
                self.confirmed.insert(partition);
            } else if !self.confirmed.contains(&partition) {
                self.by_partition.insert(partition, leader);
            }
        }
    }

    fn all_confirmed(&self, partitions: &[i32]) -> bool {
        let mut partitions = partitions.iter();
        partitions.all(|one| self.confirmed.contains(one) || !self.has(*one))
    }
}

/// Asks brokers for leaders until brokers other than the leaders have named those of `partitions`,
/// or enough have been asked.
///
/// # Errors
/// That of `ask`.
pub(super) fn find_leaders<E>(
    partitions: &[i32],
    mut ask: impl FnMut() -> Result<LeaderResponse, E>,
) -> Result<Leaders, E> {
    let mut leaders = Leaders::default();
    for _ in 0..MAX_REQUESTS {
        leaders.add(&ask()?);
        if leaders.all_confirmed(partitions) {
            break;
        }
    }
    Ok(leaders)
}

/// Asks a broker for the leaders of `topic`.
///
/// # Errors
/// If no broker answers within `timeout`, or the topic does not exist.
pub(super) fn fetch(
    client: &BaseConsumer,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<LeaderResponse> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let unknown = || KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    let topic = metadata.topics().first().ok_or_else(unknown)?;
    if let Some(error) = topic.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let named = topic.partitions().iter().map(|partition| {
        let leader = Some(partition.leader()).filter(|leader| *leader >= 0);
        (partition.id(), leader)
    });
    let leaders: Vec<_> = named.collect();
    if leaders.is_empty() {
        return Err(unknown());
    }
    Ok(LeaderResponse {
        answered_by: metadata.orig_broker_id(),
        brokers: metadata.brokers().len(),
        leaders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &[(i32, usize, [Option<i32>; 2])]) -> Leaders {
        let mut leaders = Leaders::default();
        for &(broker, brokers, [zero, one]) in answers {
            leaders.add(&LeaderResponse {
                answered_by: broker,
                brokers,
                leaders: vec![(0, zero), (1, one)],
            });
        }
        leaders
    }

    #[test]
    fn a_leader_does_not_confirm_itself() {
        let before = answered(&[(3, 3, [Some(1), Some(2)])]);
        let after = answered(&[(1, 3, [Some(1), Some(2)])]);
        assert!(!after.confirms(&before, 0));
        assert!(after.confirms(&before, 1));
        assert!(!after.all_confirmed(&[0, 1]));
        let after = answered(&[(1, 3, [Some(1), Some(2)]), (2, 3, [Some(1), Some(2)])]);
        assert!(after.confirms(&before, 0) && after.confirms(&before, 1));
        assert!(after.all_confirmed(&[0, 1]));
    }

    #[test]
    fn a_deposed_leader_that_still_names_itself_proves_nothing() {
        let before = answered(&[(3, 3, [Some(1), Some(2)])]);
        for answers in [
            [(2, 3, [Some(3), Some(2)]), (1, 3, [Some(1), Some(2)])],
            [(1, 3, [Some(1), Some(2)]), (2, 3, [Some(3), Some(2)])],
        ] {
            assert!(!answered(&answers).confirms(&before, 0));
        }
    }

    #[test]
    fn a_client_that_may_have_asked_a_deposed_leader_proves_nothing() {
        let truth = (3, 3, [Some(3), Some(2)]);
        let third_party = (2, 3, [Some(3), Some(2)]);
        let deposed = (1, 3, [Some(1), Some(2)]);
        let after = answered(&[truth, third_party]);
        assert!(after.confirms(&answered(&[third_party, truth]), 0));
        for before in [[third_party, deposed], [deposed, third_party]] {
            assert!(!after.confirms(&answered(&before), 0));
            assert!(after.confirms(&answered(&before), 1));
        }
    }

    #[test]
    fn the_only_broker_confirms_itself() {
        let before = answered(&[(-1, 1, [Some(1), Some(1)])]);
        let after = answered(&[(1, 1, [Some(1), Some(1)])]);
        assert!(after.confirms(&before, 0) && after.confirms(&before, 1));
    }

    #[test]
    fn a_partition_without_a_leader_concerns_only_itself() {
        let before = answered(&[(3, 3, [Some(1), Some(2)])]);
        let after = answered(&[(3, 3, [None, Some(2)])]);
        assert!(!after.has(0) && !after.confirms(&before, 0));
        assert!(after.confirms(&before, 1));
        assert!(after.all_confirmed(&[0, 1]));
        assert_eq!(after.partition_count(), 2);
        let again = answered(&[(3, 3, [Some(1), Some(2)])]);
        assert!(!again.confirms(&after, 0), "it was unknown before");
    }
}
