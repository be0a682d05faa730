//! Records to test a source with.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::{Message, Offset};

use crate::bounded;
use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::source::record::{InputRecord, from_message};

/// Limit on a file of records, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Bounds each request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the time in which records of a topic are read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Passes the records of a file to `each`: its lines, or the file as a whole if that is one JSON
/// document of several lines.
pub(super) fn of_file(
    path: &Path,
    topic: &str,
    limit: usize,
    mut each: impl FnMut(String, &InputRecord<'_>),
) -> anyhow::Result<()> {
    let bytes = if path == Path::new("-") {
        bounded::read_text(std::io::stdin(), MAX_FILE_BYTES).map(String::into_bytes)
    } else {
        bounded::read_file(path, MAX_FILE_BYTES)
    };
    let bytes = bytes.with_context(|| format!("cannot read {}: check --from", path.display()))?;
    let now = Clock::default().wall();
    let record = |value| InputRecord {
        topic,
        timestamp: Some(now),
        value: Some(value),
        ..InputRecord::default()
    };
    if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() {
        each("1".to_owned(), &record(&bytes));
        return Ok(());
    }
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    for (number, line) in lines.take(limit) {
        each(number.to_string(), &record(line));
    }
    Ok(())
}

/// Passes the latest records of each partition of a topic to `each`.
pub(super) fn of_topic(
    global: &GlobalArgs,
    topic: &str,
    limit: usize,
    mut each: impl FnMut(String, &InputRecord<'_>),
) -> anyhow::Result<()> {
    let config = global.connection.client_config()?;
    let options = ReaderOptions {
        name: "sundown-source-test",
        request_timeout: REQUEST_TIMEOUT,
        properties: &[],
    };
    let reader = TopicReader::new(&config, &options)?;
    let cannot = || format!("cannot read {topic}: check --topic, and that this user may read it");
    let partitions = reader.partitions(topic).with_context(cannot)?;
    let offsets = reader.offsets(topic, &partitions).with_context(cannot)?;
    let share = limit.div_ceil(partitions.len().max(1));
    let share = i64::try_from(share).unwrap_or(i64::MAX);
    let starts = offsets.iter().map(|(&partition, range)| {
        let start = range.first.max(range.end.saturating_sub(share));
        (topic, partition, Offset::Offset(start))
    });
    reader.assign(starts)?;
    let mut unread = offsets.len();
    let clock = Clock::default();
    while unread > 0 {
        if clock.elapsed() > READ_TIMEOUT {
            bail!(
                "{topic} was not read to its end within {} s: check that its partitions have leaders",
                READ_TIMEOUT.as_secs()
            );
        }
        match reader.poll(Duration::from_millis(100)) {
            Ok(Some(Polled::Record(message))) => {
                let name = format!("{}/{}", message.partition(), message.offset());
                each(name, &from_message(&message, true));
            }
            Ok(Some(Polled::EndOfPartition(_))) => unread -= 1,
            Err(error) => return Err(error).with_context(cannot),
            Ok(None) => {}
        }
    }
    Ok(())
}
