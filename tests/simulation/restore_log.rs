//! A restore that takes its time.
//!
//! The tracker's restore is a plain function that asks one thing after another. Here it
//! is told everything that it was told before, and then one thing more; after that it is
//! broken off, to be called anew later. So whatever can happen between two of its
//! questions does happen in some simulation.

use std::cell::RefCell;
use std::rc::Rc;

use sundown::clock::Reading;
use sundown::kafka::topic_reader::CommittedOffset;
use sundown::session::checkpoint::CheckpointError;
use sundown::tracker::restore::{CheckpointRecord, RestoreLog};

use crate::cluster::{Cluster, Place};
use crate::log::Record;

/// Records that one answer holds.
const CHUNK: usize = 8;

/// Why a restore has not come to its end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It has not been told everything yet.
    NotYet,
    /// Kafka could not tell it.
    Failed(&'static str),
    /// A record cannot be read.
    Checkpoint(CheckpointError),
}

impl From<CheckpointError> for Halt {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}

/// What a restore has been told.
#[derive(Clone, Debug)]
enum Answer {
    Committed(Option<CommittedOffset>),
    Offset(i64),
    Waited,
    /// Records, and where to go on; `None` at the end.
    Records(Vec<Record>, Option<i64>),
}

/// Everything a restore has been told so far, and what its clocks showed when it was told
/// where the source begins.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<Answer>, Option<Reading>);

/// The logs of one partition, as a restore sees them.
pub(crate) struct SimulatedLog<'a> {
    pub(crate) cluster: &'a Rc<RefCell<Cluster>>,
    pub(crate) partition: i32,
    reading: Reading,
    told: &'a mut Told,
    next: usize,
    /// Whether it is told something new this time.
    more: bool,
}

impl<'a> SimulatedLog<'a> {
    pub(crate) fn new(
        cluster: &'a Rc<RefCell<Cluster>>,
        (partition, reading): (i32, Reading),
        told: &'a mut Told,
    ) -> Self {
        Self {
            cluster,
            partition,
            reading,
            told,
            next: 0,
            more: true,
        }
    }

    fn ask(
        &mut self,
        answer: impl FnOnce(&Cluster) -> Result<Answer, Halt>,
    ) -> Result<Answer, Halt> {
        if let Some(known) = self.told.0.get(self.next) {
            self.next += 1;
            return Ok(known.clone());
        }
        let cluster = self.cluster.borrow();
        if !std::mem::take(&mut self.more) || !cluster.up {
            return Err(Halt::NotYet);
        }
        let answer = answer(&cluster)?;
        self.told.0.push(answer.clone());
        self.next += 1;
        Ok(answer)
    }

    fn ask_offset(&mut self, offset: impl FnOnce(&Cluster) -> i64) -> Result<i64, Halt> {
        match self.ask(|cluster| Ok(Answer::Offset(offset(cluster))))? {
            Answer::Offset(offset) => Ok(offset),
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
            let answer = self.ask(|cluster| {
                let log = cluster.log(place);
                if matches!(place, Place::Source(_)) && from < log.start {
                    return Err(Halt::Failed("offset out of range"));
                }
                Ok(chunk(cluster, place, from, to))
            })?;
            let Answer::Records(records, next) = answer else {
                panic!("{answer:?}");
            };
            records.iter().try_for_each(&mut visit)?;
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }
}

fn chunk(cluster: &Cluster, place: Place, mut from: i64, to: Option<i64>) -> Answer {
    let log = cluster.log(place);
    let to = to.unwrap_or(i64::MAX);
    let mut records = Vec::new();
    while let Some(record) = log.next(from).filter(|record| record.offset < to) {
        if records.len() == CHUNK {
            return Answer::Records(records, Some(from));
        }
        from = record.offset + 1;
        records.push(record.clone());
    }
    Answer::Records(records, None)
}

impl RestoreLog for SimulatedLog<'_> {
    type Error = Halt;
    type Record<'a> = Record;

    fn reading(&self) -> Reading {
        self.told.1.unwrap_or(self.reading)
    }

    fn committed(&mut self) -> Result<Option<CommittedOffset>, Halt> {
        let partition = self.partition;
        // While a transaction is pending on it, there is no answer.
        let answer = self.ask(|cluster| match cluster.committed(partition) {
            Ok(committed) => Ok(Answer::Committed(committed)),
            Err(_) => Err(Halt::NotYet),
        })?;
        match answer {
            Answer::Committed(committed) => Ok(committed),
            other => panic!("{other:?}"),
        }
    }

    fn source_start(&mut self) -> Result<i64, Halt> {
        let partition = self.partition;
        let start = self.ask_offset(|cluster| cluster.log(Place::Source(partition)).start)?;
        let reading = self.reading;
        self.told.1.get_or_insert(reading);
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
        self.ask(|_| Ok(Answer::Waited)).map(drop)
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
