//! Which broker leads each partition, as brokers other than the leaders say.

use std::collections::{BTreeMap, BTreeSet};

/// Bounds the metadata requests of one lookup. The requester's broker confirms all leaders but itself,
/// and one witness confirms that one; the others are for a requester whose broker is unknown.
const MAX_REQUESTS: usize = 4;

/// The client that asks a broker for leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The client that asks for end offsets. librdkafka chooses the broker, usually the one that was used
    /// last: the leader, if one broker leads all partitions.
    Requester,
    /// A client of its own, which asks any other broker than this one.
    Witness {
        /// The broker whose leadership is in question.
        other_than: i32,
    },
}

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

    /// The leader of the first of `partitions` that no other broker has named so far.
    fn unconfirmed(&self, partitions: &[i32]) -> Option<i32> {
        let mut partitions = partitions.iter();
        partitions.find_map(|partition| {
            let leader = self.by_partition.get(partition).copied();
            leader.filter(|_| !self.confirmed.contains(partition))
        })
    }
}

/// Asks the requester's broker for leaders, and then witnesses until brokers other than the leaders have
/// named those of `partitions`, a witness has no answer, or enough have been asked.
///
/// # Errors
/// That of `ask`.
pub(super) fn find_leaders<E>(
    partitions: &[i32],
    mut ask: impl FnMut(Asker) -> Result<Option<LeaderResponse>, E>,
) -> Result<Leaders, E> {
    let mut leaders = Leaders::default();
    let mut asker = Asker::Requester;
    for _ in 0..MAX_REQUESTS {
        let Some(response) = ask(asker)? else {
            break;
        };
        leaders.add(&response);
        let Some(other_than) = leaders.unconfirmed(partitions) else {
            break;
        };
        asker = Asker::Witness { other_than };
    }
    Ok(leaders)
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
        assert_eq!(after.unconfirmed(&[0, 1]), Some(1));
        let after = answered(&[(1, 3, [Some(1), Some(2)]), (2, 3, [Some(1), Some(2)])]);
        assert!(after.confirms(&before, 0) && after.confirms(&before, 1));
        assert_eq!(after.unconfirmed(&[0, 1]), None);
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
        assert_eq!(after.unconfirmed(&[0, 1]), None);
        assert_eq!(after.partition_count(), 2);
        let again = answered(&[(3, 3, [Some(1), Some(2)])]);
        assert!(!again.confirms(&after, 0), "it was unknown before");
    }
    /// The askers of a lookup whose responses are these.
    fn askers(answers: &[(i32, usize, [Option<i32>; 2])]) -> Vec<Asker> {
        let mut answers = answers.iter();
        let mut askers = Vec::new();
        let found = find_leaders(&[0, 1], |asker| {
            askers.push(asker);
            Ok::<_, ()>(answers.next().map(|&(broker, brokers, [zero, one])| {
                let leaders = vec![(0, zero), (1, one)];
                LeaderResponse {
                    answered_by: broker,
                    brokers,
                    leaders,
                }
            }))
        });
        found.unwrap();
        askers
    }

    #[test]
    fn another_broker_than_the_leader_that_answered_is_asked() {
        let own = (1, 3, [Some(1), Some(2)]);
        let witness = |other_than| Asker::Witness { other_than };
        let confirmed = askers(&[own, (2, 3, [Some(1), Some(2)])]);
        assert_eq!(confirmed, [Asker::Requester, witness(1)]);
        // Without a witness's answer, the others go on without this partition.
        assert_eq!(askers(&[own]), [Asker::Requester, witness(1)]);
        let no_need = askers(&[(3, 3, [Some(1), Some(2)])]);
        assert_eq!(no_need, [Asker::Requester]);
        let unknown = (-1, 3, [Some(1), Some(2)]);
        let one_by_one = askers(&[unknown, (2, 3, [Some(1), Some(2)]), own]);
        assert_eq!(one_by_one, [Asker::Requester, witness(1), witness(2)]);
    }

    #[test]
    fn brokers_are_asked_a_bounded_number_of_times() {
        let own = (1, 3, [Some(1), Some(1)]);
        assert_eq!(askers(&[own; 100]).len(), MAX_REQUESTS);
    }
}
