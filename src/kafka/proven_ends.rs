//! End offsets, with the proof that everything before them had been appended at a known time.
//!
//! The time is taken before each request. A consumer that has read up to the listed end has
//! read everything that was appended before that time, provided that the broker that answered
//! still led the partition: one that was deposed and does not know it answers with an old end.
//! Metadata that another broker returns *afterwards* shows that. The topic id, asked for last,
//! shows that the ends are those of the topic whose records have been read, and not of one that
//! was created in its place.
//!
//! What other processes have forwarded to the topic is read *before* the ends are listed: what a
//! process had written when it stated its watermark then lies before the listed end.

use std::collections::BTreeMap;

use super::leaders::{Asker, LeaderResponse, Leaders, find_leaders};
use super::topic_ids::TopicId;
use crate::clock::Reading;
use crate::wire::watermark::Upstream;

/// The end offsets of partitions at a known time.
#[derive(Clone, Debug)]
pub struct EndOffsets {
    /// Taken before the request was sent.
    pub requested_at: Reading,
    /// The end offset of each partition whose leader is still the one that answered.
    pub ends: Vec<(i32, i64)>,
    /// The number of partitions of the topic, asked for afterwards; `None` where it does not
    /// matter.
    pub partition_count: Option<i32>,
    /// The id of the topic, asked for last; `None` if it is unknown or does not matter.
    pub topic_id: Option<TopicId>,
    /// What others had forwarded before the request was sent.
    pub upstream: Upstream,
}

/// The requests of a listing: to Kafka, or to a simulation.
pub trait EndOffsetClient {
    /// Why there is no response.
    type Error;

    /// Reads this machine's clocks.
    fn reading(&mut self) -> Reading;

    /// Reads what others have forwarded so far.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn upstream(&mut self) -> Result<Upstream, Self::Error>;

    /// Asks the leaders of `partitions`, as the client knows them, for end offsets. A partition without
    /// response is left out.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn list_ends(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Self::Error>;

    /// Asks a broker for the leaders of all partitions; `None` if no witness has an answer.
    ///
    /// # Errors
    /// If the requester's broker does not answer.
    fn metadata(&mut self, asker: Asker) -> Result<Option<LeaderResponse>, Self::Error>;

    /// Looks up the topic's id.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn topic_id(&mut self) -> Result<Option<TopicId>, Self::Error>;
}

/// Lists end offsets with their proof.
#[derive(Clone, Debug, Default)]
pub struct ProvenEnds {
    /// The leaders after the last request.
    leaders: Leaders,
}

impl ProvenEnds {
    /// Lists the end offsets of those of `partitions` whose leader is certain.
    ///
    /// # Errors
    /// That of `client`.
    pub fn list<C: EndOffsetClient>(
        &mut self,
        client: &mut C,
        partitions: &[i32],
    ) -> Result<EndOffsets, C::Error> {
        let upstream = client.upstream()?;
        let requested_at = client.reading();
        let before = std::mem::take(&mut self.leaders);
        let led = partitions.iter().copied().filter(|one| before.has(*one));
        let led: Vec<i32> = led.collect();
        let ends = if led.is_empty() {
            // Before the first metadata, and while no partition has a leader.
            BTreeMap::new()
        } else {
            client.list_ends(&led)?
        };
        self.leaders = find_leaders(partitions, |asker| client.metadata(asker))?;
        let is_proven = |&(partition, _): &(i32, i64)| self.leaders.confirms(&before, partition);
        Ok(EndOffsets {
            requested_at,
            ends: ends.into_iter().filter(is_proven).collect(),
            partition_count: Some(self.leaders.partition_count()),
            topic_id: client.topic_id()?,
            upstream,
        })
    }
}
