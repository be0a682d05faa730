//! The applications of the synthetic users: most write session events, a website writes an access
//! log.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::access_log::{self, AccessLog};
use super::cluster::DemoCluster;
use super::pace::Pace;
use super::population::Population;
use super::synthetic::SyntheticEvent;
use crate::clock::Clock;
use crate::kafka::event_writer::{EventWriter, Target};

/// The longest wait for an event before checking for the end.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Writes what synthetic users do.
pub(super) struct Applications {
    session_logs: EventWriter,
    website: EventWriter,
    access_log: AccessLog,
}

impl Applications {
    /// Writes to the topics of `cluster`.
    pub(super) fn new(cluster: &DemoCluster) -> anyhow::Result<Self> {
        let (connection, topics) = (&cluster.global.connection, &cluster.global.topics);
        let session_logs = topics.topics().session_logs;
        let website = access_log::topic(&topics.topic_prefix);
        Ok(Self {
            session_logs: EventWriter::new(
                connection.producer_config()?,
                &session_logs,
                cluster.partitions,
            )?,
            website: EventWriter::new(
                connection.producer_config()?,
                &website,
                access_log::PARTITIONS,
            )?,
            access_log: AccessLog::default(),
        })
    }

    /// Writes the events of `population` until `stop`.
    pub(super) fn run(
        mut self,
        mut population: Population,
        pace: Pace,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let clock = Clock::default();
        let mut number = 0;
        while !stop.is_cancelled() {
            let wait = pace.wait(number, clock.elapsed());
            if wait.is_zero() {
                self.write(&population.next(clock.wall()))?;
                number += 1;
            }
            self.website.wait(Duration::ZERO);
            self.session_logs.wait(wait.min(MAX_WAIT));
        }
        self.website.flush()?;
        self.session_logs.flush()?;
        Ok(())
    }

    /// Users of the website cause lines of its log; an administrator ends their sessions elsewhere.
    fn write(&mut self, event: &SyntheticEvent) -> anyhow::Result<()> {
        let lines = event.is_website().then(|| self.access_log.lines(event));
        match lines.flatten() {
            Some(lines) => {
                for line in lines {
                    self.website.send(&Target::Anywhere, line.as_bytes())?;
                }
            }
            None => self.session_logs.send(&event.target(), &event.to_json()?)?,
        }
        Ok(())
    }
}
