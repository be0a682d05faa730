//! A restore that proceeds one request at a time.
//!
//! The tracker's restore is a plain function that sends one request after another. Each run here
//! replays the responses of the runs before, adds one more and then stops with [`Halt::NotYet`].
//! Anything that can happen between two requests therefore happens in some simulation.

use std::cell::RefCell;
use std::rc::Rc;

use sundown::clock::Reading;
use sundown::kafka::topic_reader::CommittedOffset;
use sundown::session::checkpoint::CheckpointError;
use sundown::tracker::restore::{CheckpointRecord, RestoreLog};
use sundown::tracker::state_hold::StateHold;

use crate::cluster::{Cluster, Place};
use crate::log::Record;

/// Records of one response.
const CHUNK: usize = 8;

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

impl From<CheckpointError> for Halt {
    fn from(error: CheckpointError) -> Self {
        Self::Held(StateHold::CheckpointUnreadable(error.to_string()))
    }
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
    Offset(i64),
    Waited,
    /// Records, and the next offset; `None` at the end.
    Records(Vec<Record>, Option<i64>),
}

/// All responses so far, and the clocks at the response with the start of the source.
#[derive(Debug, Default)]
pub(crate) struct Responses(Vec<Response>, Option<Reading>);

/// The logs of one partition, as a restore sees them.
pub(crate) struct SimulatedLog<'a> {
    pub(crate) cluster: &'a Rc<RefCell<Cluster>>,
    pub(crate) partition: i32,
    reading: Reading,
    responses: &'a mut Responses,
    next: usize,
    /// Whether this run may add a response.
    more: bool,
}

impl<'a> SimulatedLog<'a> {
    pub(crate) fn new(
        cluster: &'a Rc<RefCell<Cluster>>,
        (partition, reading): (i32, Reading),
        responses: &'a mut Responses,
    ) -> Self {
        Self {
            cluster,
            partition,
            reading,
            responses,
            next: 0,
            more: true,
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

    fn ask_offset(&mut self, offset: impl FnOnce(&Cluster) -> i64) -> Result<i64, Halt> {
        match self.ask(|cluster| Ok(Response::Offset(offset(cluster))))? {
            Response::Offset(offset) => Ok(offset),
            other => panic!("{other:?}"),
        }
    }

    /// Reads from `from` up to `to`, or to the present end if that comes first.
    fn read(
        &mut self,
        place: Place,
        mut from: i64,
        to: Option<i64>,
        mut visit: impl FnMut(&Record) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        loop {
            let response = self.ask(|cluster| {
                let log = cluster.log(place);
                if matches!(place, Place::Source(_)) && from < log.start {
                    return Err(Halt::Failed("offset out of range"));
                }
                Ok(chunk(cluster, place, from, to))
            })?;
            let Response::Records(records, next) = response else {
                panic!("{response:?}");
            };
            records.iter().try_for_each(&mut visit)?;
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }
}

fn chunk(cluster: &Cluster, place: Place, mut from: i64, to: Option<i64>) -> Response {
    let log = cluster.log(place);
    let to = to.unwrap_or(i64::MAX);
    let mut records = Vec::new();
    while let Some(record) = log.next(from).filter(|record| record.offset < to) {
        if records.len() == CHUNK {
            return Response::Records(records, Some(from));
        }
        from = record.offset + 1;
        records.push(record.clone());
    }
    Response::Records(records, None)
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

    fn source_start(&mut self) -> Result<i64, Halt> {
        let partition = self.partition;
        let start = self.ask_offset(|cluster| cluster.log(Place::Source(partition)).start)?;
        let reading = self.reading;
        self.responses.1.get_or_insert(reading);
        Ok(start)
    }

    fn checkpoint_end(&mut self) -> Result<i64, Halt> {
        let partition = self.partition;
        self.ask_offset(|cluster| cluster.log(Place::Checkpoint(partition)).end)
    }

    fn checkpoint_stable_end(&mut self) -> Result<i64, Halt> {
        let partition = self.partition;
        self.ask_offset(|cluster| cluster.log(Place::Checkpoint(partition)).stable_end())
    }

    fn pause(&mut self) -> Result<(), Halt> {
        self.ask(|_| Ok(Response::Waited)).map(drop)
    }

    fn read_checkpoint(
        &mut self,
        mut visit: impl FnMut(CheckpointRecord<'_>) -> Result<(), CheckpointError>,
    ) -> Result<(), Halt> {
        self.read(Place::Checkpoint(self.partition), 0, None, |record| {
            let key = record.key.as_deref().expect("checkpoint records have keys");
            visit(CheckpointRecord {
                key,
                value: record.value.as_deref(),
                position: None,
            })?;
            Ok(())
        })
    }

    fn read_source(
        &mut self,
        from: i64,
        to: i64,
        mut visit: impl FnMut(&Record),
    ) -> Result<(), Halt> {
        if from >= to {
            return Ok(());
        }
        self.read(Place::Source(self.partition), from, Some(to), |record| {
            visit(record);
            Ok(())
        })
    }
}
