//! Imports exported state.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::file;
use super::inspect::{Inspector, PartitionReport};
use super::writer::StateWriter;
use crate::kafka::args::TrackerGroupArgs;
use crate::output::{self, progress};
use crate::session::{Record, SessionRecord};
use crate::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use crate::tracker::restore::NOWHERE;
use crate::wire::partitioner::murmur2_partition;
use crate::wire::routing::{Routing, RoutingKey};

/// Flags of `sundown state import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// File that `sundown state export` wrote; `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Id that events are routed by, as the trackers will have it.
    #[arg(long, value_enum, default_value_t, value_name = "ID")]
    pub routing_key: RoutingKey,
    /// Count all sessions as active at the time when trackers start: for a backup, whose sessions
    /// may have been active since.
    #[arg(long)]
    pub active_now: bool,
    #[command(flatten)]
    pub group: TrackerGroupArgs,
}

/// The records of each partition, by their keys.
type RecordsByPartition = BTreeMap<i32, BTreeMap<Vec<u8>, Record>>;

/// What was imported.
#[derive(Clone, Copy, Debug, Default)]
struct Imported {
    sessions: usize,
    partitions: usize,
    skipped: usize,
}

/// Writes the records of a file to the partitions on which their sessions belong, each partition in
/// a transaction. Partitions that have been imported before are left as they are, so an import that
/// was interrupted can be repeated.
///
/// # Errors
/// If trackers run, the file is not whole, or a partition has other state; then nothing of that
/// partition is changed.
pub(super) fn import(
    inspector: &mut Inspector,
    writer: &StateWriter,
    from: impl BufRead,
    args: &ImportArgs,
) -> anyhow::Result<()> {
    if inspector.has_members()? {
        bail!("trackers run on this group: stop them first; nothing was changed");
    }
    let existing = inspector.partitions()?;
    let routing = routing(inspector, &existing, args.routing_key)?;
    let mut partitions = RecordsByPartition::new();
    let mut records = 0;
    let header = file::read(from, |record| {
        records += 1;
        for partition in partitions_of(&record, routing) {
            add(partitions.entry(partition).or_default(), record.clone());
        }
    })?;
    output::note(format!(
        "{records} records of {}, exported at {}",
        header.topic, header.exported_at
    ));
    // Every partition is checked before the first one is changed.
    let mut targets = Vec::new();
    for (partition, records) in partitions {
        let report = inspector.inspect(partition)?;
        if let Some(problem) = &report.problem {
            bail!("partition {partition} is held: {problem}; nothing was changed");
        }
        let keys = inspector.checkpoint_keys(partition)?;
        let is_imported = keys.iter().eq(records.keys());
        if !keys.is_empty() && !is_imported {
            bail!(
                "partition {partition} has state of its own: import into topics without sessions; nothing was changed"
            );
        }
        targets.push((report, records, is_imported));
    }
    let total = targets.iter().map(|(_, records, _)| records.len() as u64);
    let bar = progress::bar(Some(total.sum()), "{bar:40} {pos}/{len} records  {eta}");
    let mut imported = Imported::default();
    for (report, records, is_imported) in targets {
        imported.partitions += 1;
        imported.skipped += usize::from(is_imported);
        imported.sessions += records.values().filter(|record| is_live(record)).count();
        if !is_imported {
            write(writer, &report, records, routing, args.active_now, || {
                bar.inc(1);
            })?;
        }
    }
    bar.finish_and_clear();
    let Imported {
        sessions,
        partitions,
        skipped,
    } = imported;
    output::line(format!(
        "{sessions} live sessions on {partitions} partitions; {skipped} partitions had been imported before"
    ));
    Ok(())
}

/// Returns how the sessions are to be distributed.
fn routing(inspector: &Inspector, existing: &[i32], key: RoutingKey) -> anyhow::Result<Routing> {
    let partitions = i32::try_from(existing.len()).unwrap_or(i32::MAX);
    match inspector.stated_routing()? {
        Some(stated) if stated.key != key => bail!(
            "the group's sessions are routed by {}: pass --routing-key {0}; nothing was changed",
            stated.key.as_str()
        ),
        Some(stated) => Ok(stated),
        None => Ok(Routing { partitions, key }),
    }
}

/// Returns the partitions on which a record belongs: several where events that it concerns may be on
/// any of them.
fn partitions_of(record: &Record, routing: Routing) -> Vec<i32> {
    let by = |text: &str| murmur2_partition(Some(text.as_bytes()), routing.partitions);
    let one = match (record, routing.key) {
        (Record::Session(session), RoutingKey::SessionId) => by(session.session.text(&mut [0; 36])),
        // The user of an ending is not known.
        (Record::Session(session), RoutingKey::UserId) => session
            .live
            .as_ref()
            .and_then(|live| by(live.user.text.text(&mut [0; 36]))),
        (Record::CutOff(_), _) => None,
    };
    one.map_or_else(|| (0..routing.partitions).collect(), |one| vec![one])
}

/// Adds a record. Of two records of a session, the one with the later activity stays; a revocation
/// is complete if it is on all partitions.
fn add(records: &mut BTreeMap<Vec<u8>, Record>, record: Record) {
    let mut key = Vec::new();
    record.key().encode(&mut key);
    match records.entry(key) {
        Entry::Vacant(entry) => drop(entry.insert(record)),
        Entry::Occupied(mut entry) => match (entry.get_mut(), record) {
            (Record::CutOff(known), Record::CutOff(record)) => known.complete &= record.complete,
            (Record::Session(known), Record::Session(record)) => {
                let activity = |of: &SessionRecord| of.live.as_ref().map(|live| live.last_activity);
                if activity(&record) > activity(known) {
                    *known = record;
                }
            }
            // Keys of the two kinds differ.
            _ => {}
        },
    }
}

fn is_live(record: &Record) -> bool {
    matches!(record, Record::Session(session) if session.live.is_some())
}

/// Writes the records of a partition and its offset: the one that it has, or else the first.
fn write(
    writer: &StateWriter,
    report: &PartitionReport,
    records: BTreeMap<Vec<u8>, Record>,
    routing: Routing,
    active_now: bool,
    progressed: impl Fn(),
) -> anyhow::Result<()> {
    let offset = report.committed.unwrap_or(report.start).max(report.start);
    let sessions = records.values().filter(|record| is_live(record)).count();
    let metadata = OffsetMetadata {
        watermark: None,
        replay_from: if active_now { NOWHERE } else { offset },
        identity: LogIdentity {
            sessions: u64::try_from(sessions).ok(),
            ..report.actual_identity
        },
        routing: Some(routing),
    };
    let values = records.into_iter().map(|(key, mut record)| {
        if let Record::Session(session) = &mut record
            && let Some(live) = &mut session.live
        {
            // Offsets of another log mean nothing here.
            live.position = offset;
        }
        let mut value = Vec::new();
        record.encode(&mut value);
        (key, value)
    });
    let values: Vec<_> = values.collect();
    let written = values.iter().map(|(key, value)| {
        progressed();
        (key.as_slice(), Some(value.as_slice()))
    });
    writer.commit(report.partition, (offset, &metadata), written)
}
