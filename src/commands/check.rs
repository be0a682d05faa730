//! `sundown check`: writes a session's events and waits for its terminal event.

mod http;
mod strimzi;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rdkafka::{ClientConfig, Message, Offset};
use uuid::Uuid;

use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::event_writer::{EventWriter, Target};
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::{ExistingTopics, TopicAdmin, require};
use crate::output;
use crate::session::{EventKind, Span};
use crate::wire::duration;
use crate::wire::event::encode::{SessionEvent, user_id};
use crate::wire::terminal::SessionEnded;
use http::EventEndpoint;

/// The user of the session.
const USER: &str = "sundown-check";
/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which a wait for records checks the time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Flags of `sundown check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// How long to wait for the terminal event, or for the resources of --strimzi.
    #[arg(long, env = "SUNDOWN_CHECK_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Span,

    /// Send the events to this address of an ingest process (POST /v1/events), such as
    /// http://ingest:8090, instead of writing them to Kafka.
    #[arg(long, value_name = "URL", requires = "http_token")]
    pub http: Option<String>,

    /// File of the bearer token for --http, or a folder of such files, of which the first counts.
    #[arg(long, value_name = "PATH", requires = "http")]
    pub http_token: Option<PathBuf>,

    /// Check the KafkaUser and KafkaTopic resources with these labels instead, such as
    /// app.kubernetes.io/instance=sundown, and show the condition of each that is not ready.
    #[arg(
        long,
        value_name = "SELECTOR",
        conflicts_with = "http",
        hide_short_help = true
    )]
    pub strimzi: Option<String>,
}

/// Writes the login and the logout of a new session, and waits for its terminal event.
/// Handlers receive that event like any other.
///
/// # Errors
/// If a topic is missing, Kafka or the address of `--http` cannot be reached, or no tracker ends the
/// session in time. With `--strimzi`, if a resource is not ready in time.
pub fn run(args: &CheckArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let clock = Clock::default();
    let topics = global.topics.topics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let timeout = u64::try_from(args.timeout.as_millis()).unwrap_or_default();
    let timeout = Duration::from_millis(timeout);
    if let Some(selector) = &args.strimzi {
        return runtime.block_on(strimzi::run(selector, timeout, clock));
    }
    let admin = TopicAdmin::new(&global.connection.client_config()?)?;
    let names = [topics.session_logs.as_str(), &topics.expired_sessions];
    let existing = runtime.block_on(require(&admin, &names))?;

    // Before the events are written, so that the terminal event cannot be missed.
    let config = global.connection.client_config()?;
    let reader = reader_at_end(&config, &topics.expired_sessions, &existing)?;
    let id = format!("sundown-check-{}", Uuid::new_v4().simple());
    let events = [EventKind::Login, EventKind::Logout].map(|kind| event(&id, kind, clock));
    let events = events.into_iter().collect::<Result<Vec<_>, _>>()?;
    match (&args.http, &args.http_token) {
        (Some(url), Some(token)) => {
            let endpoint = EventEndpoint::new(url, token)?;
            runtime.block_on(endpoint.send(&events, timeout))?;
        }
        _ => {
            let partitions = existing[&topics.session_logs].partition_count();
            write(global, partitions, &events)?;
        }
    }

    let written = clock.elapsed();
    while clock.elapsed().saturating_sub(written) < timeout {
        // The reader logs errors, and librdkafka retries.
        let Ok(Some(Polled::Record(record))) = reader.poll(POLL_INTERVAL) else {
            continue;
        };
        if record.key() == Some(id.as_bytes()) {
            let took = clock.elapsed().saturating_sub(written);
            return report(&id, record.payload().unwrap_or_default(), took);
        }
    }
    anyhow::bail!(
        "session {id} did not end within {}: no terminal event in {}; check that a tracker runs, is ready (/readyz) and reads {}",
        args.timeout,
        topics.expired_sessions,
        topics.session_logs
    )
}

fn event(id: &str, kind: EventKind, clock: Clock) -> serde_json::Result<Vec<u8>> {
    let event = SessionEvent {
        user_id: Some(&user_id(USER, true)?),
        session_id: Some(id),
        ..SessionEvent::new(kind, clock.wall())
    };
    event.to_json()
}

/// Writes events to Kafka.
fn write(global: &GlobalArgs, partitions: i32, events: &[Vec<u8>]) -> anyhow::Result<()> {
    let config = global.connection.producer_config()?;
    let topic = global.topics.topics().session_logs;
    let writer = EventWriter::new(config, &topic, partitions)?;
    for value in events {
        writer.send(&Target::of(value)?, value)?;
    }
    writer.flush()?;
    Ok(())
}

/// A reader of all of a topic's partitions from their ends on.
fn reader_at_end(
    config: &ClientConfig,
    topic: &str,
    existing: &ExistingTopics,
) -> anyhow::Result<TopicReader> {
    let options = ReaderOptions {
        name: topic,
        request_timeout: REQUEST_TIMEOUT,
        properties: &[],
    };
    let reader = TopicReader::new(config, &options)?;
    let partitions: Vec<_> = (0..existing[topic].partition_count()).collect();
    let ends = reader.end_offsets(topic, &partitions);
    let ends = ends.map_err(|error| {
        anyhow::anyhow!("cannot list end offsets of {topic}: {}", WithHint(&error))
    })?;
    let ends = ends.into_iter();
    reader.assign(ends.map(|(partition, end)| (topic, partition, Offset::Offset(end))))?;
    Ok(reader)
}

fn report(id: &str, terminal_event: &[u8], took: Duration) -> anyhow::Result<()> {
    let event: SessionEnded =
        serde_json::from_slice(terminal_event).context("cannot decode the terminal event")?;
    output::line(format!(
        "session {id} ended after {took:.1?}: {} under policy {}",
        event.reason.as_str(),
        event.policy.name
    ));
    Ok(())
}
