//! Whether Kafka answers the console.

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::connection_health::ConnectionHealth;
use crate::kafka::recreating_client::RecreatingClient;

/// Interval between two requests.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bounds one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which the wait for the next request checks for cancellation.
const STOP_INTERVAL: Duration = Duration::from_millis(200);

/// Asks the brokers for the metadata of a topic, on a thread, until `stop`. The console is not ready once they
/// have not answered for a minute.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn start(
    config: &ClientConfig,
    topic: &str,
    clock: Clock,
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (config, topic) = (config.clone(), topic.to_owned());
    let mut client = RecreatingClient::new(clock, move || config.create::<BaseConsumer>())?;
    let mut connection = ConnectionHealth::new(clock, health.clone());
    let run = move |heartbeat: Heartbeat| {
        while !stop.is_cancelled() {
            heartbeat.beat();
            let answer = client.ask(|client| client.fetch_metadata(Some(&topic), REQUEST_TIMEOUT));
            connection.observe(&answer);
            let next = clock.elapsed() + INTERVAL;
            while clock.elapsed() < next && !stop.is_cancelled() {
                thread::sleep(STOP_INTERVAL);
            }
        }
    };
    health.spawn("kafka-connection", HELPER_TIMEOUT, run)?;
    Ok(())
}
