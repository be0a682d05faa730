//! `sundown check`: sends a session through and sees it end.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::event_writer::{EventWriter, Target};
use crate::kafka::reader::{self, reader_config};
use crate::kafka::topics::{ExistingTopics, TopicAdmin, require};
use crate::output;
use crate::session::{EventKind, Span};
use crate::wire::duration;
use crate::wire::event::encode::{SessionEvent, user_id};
use crate::wire::terminal::SessionEnded;

/// Whom the session is of.
const USER: &str = "sundown-check";
/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a record before looking at the clock.
const POLL: Duration = Duration::from_millis(100);

/// Flags of `sundown check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// How long to wait for the terminal event.
    #[arg(long, env = "SUNDOWN_CHECK_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Span,
}

/// Writes the login and the logout of a session that is made up, and waits for its
/// terminal event: the way through Kafka and a tracker, as any application takes it.
/// Handlers see that event too, like every other.
///
/// # Errors
/// If a topic is missing, Kafka cannot be reached, or nothing ends the session in time.
pub fn run(args: &CheckArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let clock = Clock::default();
    let topics = global.topics.topics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let admin = TopicAdmin::new(&global.connection.client_config()?)?;
    let names = [topics.session_logs.as_str(), &topics.expired_sessions];
    let existing = runtime.block_on(require(&admin, &names))?;

    // From here on nothing is missed, however fast the tracker is.
    let config = global.connection.client_config()?;
    let consumer = at_the_end(&config, &topics.expired_sessions, &existing)?;
    let id = format!("sundown-check-{}", Uuid::new_v4().simple());
    let partitions = existing[&topics.session_logs].partition_count();
    let writer = EventWriter::new(
        global.connection.producer_config()?,
        &topics.session_logs,
        partitions,
    )?;
    let user = user_id(USER, true)?;
    for kind in [EventKind::Login, EventKind::Logout] {
        let event = SessionEvent {
            user_id: Some(&user),
            session_id: Some(&id),
            activity_timestamp: clock.wall(),
            kind,
            attributes: None,
        };
        let value = event.to_json()?;
        writer.send(&Target::of(&value)?, &value)?;
    }
    writer.finish()?;

    let written = clock.elapsed();
    let patience =
        Duration::from_millis(u64::try_from(args.timeout.as_millis()).unwrap_or_default());
    while clock.elapsed().saturating_sub(written) < patience {
        let Some(record) = reader::poll(&consumer, POLL) else {
            continue;
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(error = %WithHint(&error), "trying again");
                continue;
            }
        };
        if record.key() == Some(id.as_bytes()) {
            let took = clock.elapsed().saturating_sub(written);
            return tell(&id, record.payload().unwrap_or_default(), took);
        }
    }
    anyhow::bail!(
        "the session {id} did not end within {}: nothing was written to {}; check that a tracker runs, is ready (/readyz) and works on {}",
        args.timeout,
        topics.expired_sessions,
        topics.session_logs
    )
}

/// A consumer of all of a topic's partitions, from their ends on.
fn at_the_end(
    config: &ClientConfig,
    topic: &str,
    existing: &ExistingTopics,
) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = reader_config(config, topic).create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..existing[topic].partition_count() {
        let (_, end) = consumer
            .fetch_watermarks(topic, partition, TIMEOUT)
            .map_err(|error| {
                anyhow::anyhow!("cannot ask where {topic} ends: {}", WithHint(&error))
            })?;
        assignment.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn tell(id: &str, ending: &[u8], took: Duration) -> anyhow::Result<()> {
    let ending: SessionEnded =
        serde_json::from_slice(ending).context("the terminal event cannot be understood")?;
    output::line(format!(
        "session {id} ended after {took:.1?}: {} under policy {}",
        ending.reason.as_str(),
        ending.policy.name
    ));
    Ok(())
}
