//! The requests for end offsets of a simulated tracker, one at a time: as in `restore_log.rs`, each run
//! replays the responses of the runs before and adds one more.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use sundown::clock::Reading;
use sundown::kafka::leaders::{Asker, LeaderResponse};
use sundown::kafka::proven_ends::{EndOffsetClient, EndOffsets, ProvenEnds};
use sundown::kafka::topic_ids::TopicId;
use sundown::wire::routing::Routing;
use sundown::wire::watermark::{Upstream, WatermarkStore};

use crate::cluster::Cluster;

/// The client that lists end offsets.
#[derive(Debug)]
pub(crate) struct EndOffsetLister {
    proof: ProvenEnds,
    /// What the topic of watermarks has said, and how far it has been read.
    watermarks: (WatermarkStore, i64),
    routing: Routing,
    process: Vec<u8>,
    /// The leaders as the last response to the client itself named them.
    leaders: Vec<i32>,
    listing: Option<Listing>,
}

/// A listing in progress.
#[derive(Debug, Default)]
struct Listing {
    partitions: Vec<i32>,
    responses: Vec<Response>,
    requested_at: Option<Reading>,
}

#[derive(Clone, Debug)]
enum Response {
    Upstream(Upstream),
    Ends(BTreeMap<i32, i64>),
    Metadata(Option<LeaderResponse>),
    TopicId(Option<TopicId>),
}

/// Why a listing stopped.
#[derive(Debug)]
enum Halt {
    /// A response is missing so far.
    NotYet,
    /// A broker responded with an error.
    Failed,
}

impl EndOffsetLister {
    pub(crate) fn new(routing: Routing, process: Vec<u8>) -> Self {
        Self {
            proof: ProvenEnds::default(),
            watermarks: (WatermarkStore::default(), 0),
            routing,
            process,
            leaders: Vec::new(),
            listing: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.listing.is_none()
    }

    /// Starts to list the end offsets of `partitions`.
    pub(crate) fn start(&mut self, partitions: Vec<i32>) {
        self.listing = Some(Listing {
            partitions,
            ..Listing::default()
        });
    }

    /// Gives up the listing: requests time out.
    pub(crate) fn give_up(&mut self) {
        self.listing = None;
    }

    /// Sends a request; returns the end offsets after the last response.
    pub(crate) fn step(
        &mut self,
        cluster: &Cluster,
        rng: &mut ChaCha8Rng,
        reading: Reading,
    ) -> Option<EndOffsets> {
        let mut listing = self.listing.take()?;
        let mut proof = self.proof.clone();
        let partitions = listing.partitions.clone();
        let mut requests = Requests {
            lister: self,
            listing: &mut listing,
            cluster,
            rng,
            reading,
            next: 0,
            more: true,
        };
        match proof.list(&mut requests, &partitions) {
            Ok(ends) => {
                self.proof = proof;
                Some(ends)
            }
            Err(Halt::NotYet) => {
                self.listing = Some(listing);
                None
            }
            Err(Halt::Failed) => {
                // The leaders are not known then.
                self.proof = ProvenEnds::default();
                self.leaders.clone_from(&cluster.brokers.leaders);
                None
            }
        }
    }

    fn read_watermarks(&mut self, cluster: &Cluster) -> Upstream {
        let (store, position) = &mut self.watermarks;
        while let Some(record) = cluster.watermarks.next(*position) {
            *position = record.offset + 1;
            let key = record.key.as_deref().unwrap_or_default();
            let applied = store.apply(key, record.value.as_deref());
            applied.expect("a tracker's record");
        }
        store.upstream("session_logs", self.routing, &self.process)
    }
}

struct Requests<'a> {
    lister: &'a mut EndOffsetLister,
    listing: &'a mut Listing,
    cluster: &'a Cluster,
    rng: &'a mut ChaCha8Rng,
    reading: Reading,
    next: usize,
    /// Whether this run may add a response.
    more: bool,
}

impl Requests<'_> {
    fn ask(
        &mut self,
        response: impl FnOnce(&mut Self) -> Result<Response, Halt>,
    ) -> Result<Response, Halt> {
        if let Some(known) = self.listing.responses.get(self.next) {
            self.next += 1;
            return Ok(known.clone());
        }
        if !std::mem::take(&mut self.more) || !self.cluster.up {
            return Err(Halt::NotYet);
        }
        let response = response(self)?;
        self.listing.responses.push(response.clone());
        self.next += 1;
        Ok(response)
    }
}

impl EndOffsetClient for Requests<'_> {
    type Error = Halt;

    fn reading(&mut self) -> Reading {
        *self.listing.requested_at.get_or_insert(self.reading)
    }

    fn upstream(&mut self) -> Result<Upstream, Halt> {
        let response = self.ask(|this| {
            let upstream = this.lister.read_watermarks(this.cluster);
            Ok(Response::Upstream(upstream))
        })?;
        match response {
            Response::Upstream(upstream) => Ok(upstream),
            other => panic!("{other:?}"),
        }
    }

    fn list_ends(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Halt> {
        let response = self.ask(|this| {
            let end = |&partition: &i32| {
                let leader = this.lister.leaders.get(crate::cluster::index(partition));
                let end = this.cluster.end_by(partition, *leader?);
                end.map(|end| (partition, end))
            };
            let ends: BTreeMap<i32, i64> = partitions.iter().filter_map(end).collect();
            if ends.len() < partitions.len() {
                return Err(Halt::Failed);
            }
            Ok(Response::Ends(ends))
        })?;
        match response {
            Response::Ends(ends) => Ok(ends),
            other => panic!("{other:?}"),
        }
    }

    fn metadata(&mut self, asker: Asker) -> Result<Option<LeaderResponse>, Halt> {
        let response = self.ask(|this| {
            let response = this.cluster.brokers.metadata(asker, this.rng);
            if let (Asker::Requester, Some(response)) = (asker, &response) {
                let leaders = response.leaders.iter();
                this.lister.leaders = leaders.map(|(_, leader)| leader.unwrap_or(-1)).collect();
            }
            Ok(Response::Metadata(response))
        })?;
        match response {
            Response::Metadata(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    fn topic_id(&mut self) -> Result<Option<TopicId>, Halt> {
        let response = self.ask(|this| Ok(Response::TopicId(this.cluster.identity().topic_id)))?;
        match response {
            Response::TopicId(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }
}
