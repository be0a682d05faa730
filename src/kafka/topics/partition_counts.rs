//! All topics of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::metadata::Metadata;

use super::admin::TopicAdmin;
use super::error::TopicError;
use super::state::TopicState;

/// Bounds the metadata requests for one confirmation: librdkafka sends each to one of the brokers that it is
/// connected to.
const MAX_REQUESTS: usize = 8;

impl TopicAdmin {
    /// The numbers of partitions of all topics that this user may describe.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if no broker responds in time.
    pub async fn partition_counts(&self) -> Result<BTreeMap<String, i32>, TopicError> {
        Ok(counts(&self.metadata().await?).collect())
    }

    /// The same, confirmed by a second broker: one that is cut off from the controllers shows an
    /// old number. Of different numbers the highest counts. `None` if no other broker of several
    /// responds.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if no broker responds in time.
    pub async fn confirmed_partition_counts(
        &self,
    ) -> Result<Option<BTreeMap<String, i32>>, TopicError> {
        let mut confirmation = Confirmation::default();
        self.connect_to_brokers(&self.metadata().await?).await;
        for _ in 0..MAX_REQUESTS {
            let metadata = self.metadata().await?;
            let brokers = metadata.brokers().len();
            confirmation.add(metadata.orig_broker_id(), brokers, counts(&metadata));
            if confirmation.is_confirmed {
                return Ok(Some(confirmation.counts));
            }
        }
        Ok(None)
    }
}

fn counts(metadata: &Metadata) -> impl Iterator<Item = (String, i32)> {
    metadata.topics().iter().map(|topic| {
        let count = TopicState::from(topic).partition_count();
        (topic.name().to_owned(), count)
    })
}

/// The numbers of partitions, as brokers show them.
#[derive(Debug, Default)]
struct Confirmation {
    counts: BTreeMap<String, i32>,
    answered: BTreeSet<i32>,
    /// Whether two brokers have answered, or the only one that there is.
    is_confirmed: bool,
}

impl Confirmation {
    /// Adds the answer of a broker, which is negative if it is unknown.
    fn add(
        &mut self,
        answered_by: i32,
        brokers: usize,
        counts: impl Iterator<Item = (String, i32)>,
    ) {
        for (topic, count) in counts {
            let known = self.counts.entry(topic).or_default();
            *known = count.max(*known);
        }
        if answered_by >= 0 {
            self.answered.insert(answered_by);
        }
        self.is_confirmed |= brokers == 1 || self.answered.len() > 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker, the number of brokers that it knows, and the partition counts that it states.
    type Response<'a> = (i32, usize, &'a [(&'a str, i32)]);

    fn confirm(answers: &[Response<'_>]) -> Option<BTreeMap<String, i32>> {
        let mut confirmation = Confirmation::default();
        for (broker, brokers, counts) in answers {
            let counts = counts.iter();
            let counts = counts.map(|(topic, count)| ((*topic).to_owned(), *count));
            confirmation.add(*broker, *brokers, counts);
        }
        confirmation.is_confirmed.then_some(confirmation.counts)
    }

    #[test]
    fn a_second_broker_confirms_and_the_highest_number_counts() {
        let (old, new): (&[_], &[_]) = (&[("a", 3)], &[("a", 6), ("b", 1)]);
        assert_eq!(confirm(&[(1, 3, old), (1, 3, old), (-1, 3, old)]), None);
        for answers in [[(1, 3, old), (2, 3, new)], [(2, 3, new), (1, 3, old)]] {
            let counts = confirm(&answers).unwrap();
            assert_eq!((counts["a"], counts["b"]), (6, 1));
        }
        assert_eq!(confirm(&[(-1, 1, old)]).unwrap()["a"], 3);
    }
}
