//! A restore that proceeds one request at a time.
//!
//! The tracker's restore is a plain function that sends one request after another. Each run here
//! replays the responses of the runs before, adds one more and then stops with [`Halt::NotYet`].
//! Anything that can happen between two requests therefore happens in some simulation.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::clock::Reading;
use sundown::kafka::leaders::{Asker, LeaderResponse};
use sundown::kafka::proven_ends::{EndOffsetClient, ProvenEnds};
use sundown::kafka::topic_ids::TopicId;
use sundown::kafka::topic_reader::CommittedOffset;
use sundown::kafka::topics::OffsetRange;
use sundown::tracker::offset_metadata::LogIdentity;
use sundown::tracker::restore::{ReadProgress, RestoreLog, RestoreTopic};
use sundown::tracker::state_hold::StateHold;
use sundown::wire::watermark::Upstream;

use crate::cluster::{Cluster, Place, index};
use crate::log::{Log, Record};

/// Records of one response.
const CHUNK: usize = 8;
/// How often a new leader that lags behind reports the end of the partition too early, in a thousand.
const EARLY_END: u32 = 20;

/// Why a restore stopped.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A response is missing so far.
    NotYet,
    /// Kafka responded with an error.
    Failed(&'static str),
    /// The state is not used.
    Held(StateHold),
}

impl From<StateHold> for Halt {
    fn from(hold: StateHold) -> Self {
        Self::Held(hold)
    }
}

/// A response to a request of a restore.
#[derive(Clone, Debug)]
enum Response {
    Committed(Option<CommittedOffset>),
    Identity(LogIdentity),
    Offsets(OffsetRange),
    Waited,
    /// Records, and the next offset.
    Records(Vec<Record>, i64),
    /// The end of the checkpoint, as the broker that was asked states it.
    End(Option<i64>),
    Metadata(Option<LeaderResponse>),
}

/// All responses so far, and the clocks at the response with the offsets of the source.
#[derive(Debug, Default)]
pub(crate) struct Responses(Vec<Response>, Option<Reading>);

impl Responses {
    /// The clocks at the response with the offsets of the source.
    pub(crate) fn asked_at(&self) -> Option<Reading> {
        self.1
    }
}

/// The logs of one partition, as a restore sees them.
pub(crate) struct SimulatedLog<'a> {
    pub(crate) cluster: &'a Rc<RefCell<Cluster>>,
    pub(crate) partition: i32,
    reading: Reading,
    responses: &'a mut Responses,
    rng: &'a mut ChaCha8Rng,
    next: usize,
    /// Whether this run may add a response.
    more: bool,
    /// What is read, the records that have been fetched of it, and the offset behind them.
    place: Place,
    fetched: VecDeque<Record>,
    fetch_position: i64,
}

impl<'a> SimulatedLog<'a> {
    pub(crate) fn new(
        cluster: &'a Rc<RefCell<Cluster>>,
        (partition, reading): (i32, Reading),
        responses: &'a mut Responses,
        rng: &'a mut ChaCha8Rng,
    ) -> Self {
        Self {
            cluster,
            partition,
            reading,
            responses,
            rng,
            next: 0,
            more: true,
            place: Place::Source(partition),
            fetched: VecDeque::new(),
            fetch_position: 0,
        }
    }

    fn ask(
        &mut self,
        response: impl FnOnce(&Cluster) -> Result<Response, Halt>,
    ) -> Result<Response, Halt> {
        if let Some(known) = self.responses.0.get(self.next) {
            self.next += 1;
            return Ok(known.clone());
        }
        let cluster = self.cluster.borrow();
        if !std::mem::take(&mut self.more) || !cluster.up {
            return Err(Halt::NotYet);
        }
        let response = response(&cluster)?;
        self.responses.0.push(response.clone());
        self.next += 1;
        Ok(response)
    }

    fn ask_offsets(
        &mut self,
        offsets: impl FnOnce(&Cluster) -> Result<OffsetRange, Halt>,
    ) -> Result<OffsetRange, Halt> {
        match self.ask(|cluster| offsets(cluster).map(Response::Offsets))? {
            Response::Offsets(offsets) => Ok(offsets),
            other => panic!("{other:?}"),
        }
    }
}

/// The requests for the end of the checkpoint, with its proof.
struct CheckpointEnds<'log, 'a> {
    log: &'log mut SimulatedLog<'a>,
    /// The leaders as the last response to the client itself named them.
    leaders: &'log mut BTreeMap<i32, i32>,
}

impl EndOffsetClient for CheckpointEnds<'_, '_> {
    type Error = Halt;

    fn reading(&mut self) -> Reading {
        self.log.reading
    }

    fn upstream(&mut self) -> Result<Upstream, Halt> {
        Ok(Upstream::default())
    }

    fn list_ends(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Halt> {
        let mut ends = BTreeMap::new();
        for &partition in partitions {
            let leader = self.leaders.get(&partition).copied();
            let response = self.log.ask(|cluster| {
                let end = checkpoint(cluster, partition)?.end;
                let brokers = &cluster.brokers;
                let end =
                    leader.and_then(|leader| brokers.checkpoint_end_by(partition, leader, end));
                Ok(Response::End(end))
            })?;
            let Response::End(end) = response else {
                panic!("{response:?}");
            };
            ends.extend(end.map(|end| (partition, end)));
        }
        Ok(ends)
    }

    fn metadata(&mut self, asker: Asker) -> Result<Option<LeaderResponse>, Halt> {
        let mut rng = self.log.rng.clone();
        let response = self.log.ask(|cluster| {
            Ok(Response::Metadata(
                cluster.brokers.metadata(asker, &mut rng),
            ))
        })?;
        *self.log.rng = rng;
        let Response::Metadata(response) = response else {
            panic!("{response:?}");
        };
        if let (Asker::Requester, Some(response)) = (asker, &response) {
            let leaders = response.leaders.iter();
            *self.leaders = leaders
                .filter_map(|(partition, leader)| Some((*partition, (*leader)?)))
                .collect();
        }
        Ok(response)
    }

    fn topic_id(&mut self) -> Result<Option<TopicId>, Halt> {
        Ok(None)
    }
}

fn checkpoint(cluster: &Cluster, partition: i32) -> Result<&Log, Halt> {
    let log = cluster.checkpoint.get(index(partition));
    log.ok_or(Halt::Failed("unknown partition"))
}

fn range(log: &Log) -> OffsetRange {
    OffsetRange {
        first: log.start,
        end: log.end,
    }
}

/// Some committed records from `from` on.
fn fetch(cluster: &Cluster, place: Place, from: i64) -> Result<Response, Halt> {
    let log = cluster.log(place);
    if matches!(place, Place::Source(_)) && from < log.start {
        return Err(Halt::Failed("offset out of range"));
    }
    let mut records = Vec::new();
    let mut position = from;
    while records.len() < CHUNK
        && let Some(record) = log.next(position)
    {
        position = record.offset + 1;
        records.push(record.clone());
    }
    // Past transaction markers.
    Ok(Response::Records(records, log.position(position)))
}

impl RestoreLog for SimulatedLog<'_> {
    type Error = Halt;
    type Record<'a> = Record;

    fn reading(&self) -> Reading {
        self.responses.1.unwrap_or(self.reading)
    }

    fn committed(&mut self) -> Result<Option<CommittedOffset>, Halt> {
        let partition = self.partition;
        // While a transaction on it is pending, there is no response.
        let response = self.ask(|cluster| match cluster.committed(partition) {
            Ok(committed) => Ok(Response::Committed(committed)),
            Err(_) => Err(Halt::NotYet),
        })?;
        match response {
            Response::Committed(committed) => Ok(committed),
            other => panic!("{other:?}"),
        }
    }

    fn identity(&mut self) -> Result<LogIdentity, Halt> {
        match self.ask(|cluster| Ok(Response::Identity(cluster.identity())))? {
            Response::Identity(identity) => Ok(identity),
            other => panic!("{other:?}"),
        }
    }

    fn source_offsets(&mut self) -> Result<OffsetRange, Halt> {
        let place = Place::Source(self.partition);
        let offsets = self.ask_offsets(|cluster| Ok(range(cluster.log(place))))?;
        let reading = self.reading;
        self.responses.1.get_or_insert(reading);
        Ok(offsets)
    }

    fn checkpoint_end(&mut self) -> Result<i64, Halt> {
        let partition = self.partition;
        let mut proof = ProvenEnds::default();
        let mut leaders = BTreeMap::new();
        loop {
            let mut requests = CheckpointEnds {
                log: self,
                leaders: &mut leaders,
            };
            let listed = proof.list(&mut requests, &[partition])?;
            if let Some((_, end)) = listed.ends.first() {
                return Ok(*end);
            }
        }
    }

    fn checkpoint_stable_offsets(&mut self) -> Result<OffsetRange, Halt> {
        let partition = self.partition;
        self.ask_offsets(|cluster| {
            let log = checkpoint(cluster, partition)?;
            Ok(OffsetRange {
                end: log.stable_end(),
                ..range(log)
            })
        })
    }

    fn pause(&mut self) -> Result<(), Halt> {
        self.ask(|_| Ok(Response::Waited)).map(drop)
    }

    fn start_reading(&mut self, topic: RestoreTopic, from: i64) -> Result<(), Halt> {
        self.place = match topic {
            RestoreTopic::Source => Place::Source(self.partition),
            RestoreTopic::Checkpoint => Place::Checkpoint(self.partition),
        };
        self.fetch_position = from;
        Ok(())
    }

    fn poll(
        &mut self,
        visit: &mut impl FnMut(&Record) -> Result<(), Halt>,
    ) -> Result<ReadProgress, Halt> {
        if self.fetched.is_empty() {
            let (place, from) = (self.place, self.fetch_position);
            let is_early = self.rng.random_ratio(EARLY_END, 1_000);
            let response = self.ask(|cluster| {
                if is_early {
                    return Ok(Response::Records(Vec::new(), from));
                }
                fetch(cluster, place, from)
            })?;
            let Response::Records(records, position) = response else {
                panic!("{response:?}");
            };
            self.fetched.extend(records);
            self.fetch_position = position;
        }
        let Some(record) = self.fetched.pop_front() else {
            return Ok(ReadProgress::EndOfPartition);
        };
        visit(&record)?;
        let next = record.offset + 1;
        Ok(ReadProgress::Record { next })
    }

    fn position(&mut self) -> Result<i64, Halt> {
        Ok(self.fetch_position)
    }

    fn stop_reading(&mut self) -> Result<(), Halt> {
        self.fetched.clear();
        Ok(())
    }

    fn covered_position(record: &Record) -> Option<i64> {
        record.covered
    }
}
