//! Where the events to replay come from.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::replay::{Replay, Sample};
use crate::commands::produce::lines::{LineReader, NextLine};
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed, TopicRecord};
use crate::kafka::topics::{TopicAdmin, require};
use crate::output::progress;

/// How long to wait for a line before waiting again.
const LINE: Duration = Duration::from_secs(1);

/// Where the events come from.
pub(super) enum Source {
    /// A file, or standard input.
    Lines(LineReader),
    /// The topic of session events.
    Topic {
        records: Receiver<TopicEvent>,
        /// How many offsets there are to read.
        total: u64,
        /// Ends the reader.
        _stop: DropGuard,
    },
}

impl Source {
    pub(super) fn lines(path: &Path) -> anyhow::Result<Self> {
        let lines = LineReader::open(path);
        let lines =
            lines.with_context(|| format!("cannot read {}: check --from", path.display()))?;
        Ok(Self::Lines(lines))
    }

    pub(super) fn topic(global: &GlobalArgs, runtime: &Runtime) -> anyhow::Result<Self> {
        let config = global.connection.client_config()?;
        let topic = global.topics.topics().session_logs;
        let admin = TopicAdmin::new(&config)?;
        let total = runtime.block_on(async {
            let existing = require(&admin, &[&topic]).await?;
            let partitions = existing[&topic].partition_count();
            let offsets = admin.offsets(&topic, partitions).await?;
            let counts = offsets.iter().map(|range| range.end - range.first);
            anyhow::Ok(counts.sum::<i64>().unsigned_abs())
        })?;
        let stop = CancellationToken::new();
        Ok(Self::Topic {
            records: TopicFeed::start(&config, &topic, &Health::default(), stop.clone())?,
            total,
            _stop: stop.drop_guard(),
        })
    }

    /// Replays all events.
    ///
    /// # Errors
    /// If they cannot be read to their end.
    pub(super) fn feed(self, replay: &mut Replay) -> anyhow::Result<()> {
        let bar = progress::of_events(self.total());
        match self {
            Self::Lines(lines) => loop {
                match lines.next(LINE)? {
                    NextLine::Line(line) if line.is_blank() => {}
                    NextLine::Line(line) => {
                        replay.feed(0, &Sample::of_line(line.number, &line.bytes));
                        bar.inc(1);
                    }
                    NextLine::Pending => {}
                    NextLine::End => break,
                }
            },
            Self::Topic { mut records, .. } => loop {
                match records.blocking_recv() {
                    Some(TopicEvent::Record(record)) => {
                        replay.feed(record.partition, &Sample::from(&record));
                        bar.inc(1);
                    }
                    Some(TopicEvent::CaughtUp) => break,
                    None => bail!("the topic's reader ended before the topic did"),
                }
            },
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// How many events there are, as far as that is known.
    fn total(&self) -> Option<u64> {
        match self {
            Self::Topic { total, .. } => Some(*total),
            Self::Lines(_) => None,
        }
    }
}

impl<'a> From<&'a TopicRecord> for Sample<'a> {
    fn from(record: &'a TopicRecord) -> Self {
        Self {
            offset: record.offset,
            timestamp: Some((record.timestamp, record.timestamp_kind)),
            value: record.value.as_deref(),
        }
    }
}

impl<'a> Sample<'a> {
    fn of_line(number: u64, bytes: &'a [u8]) -> Self {
        Self {
            offset: i64::try_from(number).unwrap_or(i64::MAX),
            timestamp: None,
            value: Some(bytes),
        }
    }
}
