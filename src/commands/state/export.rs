//! Exports the state of all partitions.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::Path;

use anyhow::{Context, bail};

use super::file::StateFileWriter;
use super::inspect::Inspector;
use crate::clock::Clock;
use crate::output::{self, progress};
use crate::wire::routing::{Routing, RoutingKey};
use crate::wire::time;

/// How often a partition is read again whose checkpoint trackers are writing meanwhile.
const MAX_ATTEMPTS: usize = 5;

/// Writes the state of all partitions to `path`, `-` for standard output.
///
/// # Errors
/// If a partition is held or cannot be read, or the file cannot be written.
pub(super) fn export(inspector: &mut Inspector, path: &Path) -> anyhow::Result<()> {
    let partitions = inspector.partitions()?;
    let routing = inspector.stated_routing()?.unwrap_or(Routing {
        partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        key: RoutingKey::default(),
    });
    if inspector.has_members()? {
        output::note(
            "trackers run: the export is a backup; to move the sessions, stop the trackers first and export again",
        );
    }
    let to: Box<dyn Write> = if path == Path::new("-") {
        Box::new(stdout())
    } else {
        let created = File::create(path);
        Box::new(created.with_context(|| format!("cannot create {}", path.display()))?)
    };
    let exported_at = time::format(Clock::default().wall());
    let topic = inspector.source_topic().to_owned();
    let mut file = StateFileWriter::new(BufWriter::new(to), exported_at, topic)?;
    let bar = progress::bar(
        Some(partitions.len() as u64),
        "{bar:40} {pos}/{len} partitions  {eta}",
    );
    for partition in partitions {
        for attempt in 1.. {
            match inspector.records(partition, routing)? {
                Ok(records) => {
                    for record in &records {
                        file.write(record)?;
                    }
                    break;
                }
                Err(hold) if attempt == MAX_ATTEMPTS => {
                    bail!(
                        "partition {partition} is held: {hold}; resolve it with `sundown state reset`, or stop the trackers"
                    )
                }
                Err(_) => {}
            }
        }
        bar.inc(1);
    }
    let records = file.finish()?;
    bar.finish_and_clear();
    output::note(format!("{records} records exported"));
    Ok(())
}
