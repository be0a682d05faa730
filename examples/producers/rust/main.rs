//! Writes a login, an activity and a logout of each session.
//!
//! ```sh
//! cargo run --example session-producer -- localhost:9092 session_logs user-1 session-1 session-2
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "an application reads its own clock"
)]

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let mut next = || args.next().ok_or("usage: BOOTSTRAP TOPIC USER SESSION...");
    let (bootstrap, topic, user) = (next()?, next()?, next()?);

    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        // librdkafka's default hashes keys by CRC32; trackers expect the partitioner of the Java client.
        .set("partitioner", "murmur2_random")
        .create()?;
    for session in args {
        for event in ["login", "activity", "logout"] {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            let value = json!({
                "event": event,
                "session_id": session,
                "user_id": user,
                "activity_timestamp": u64::try_from(now)?,
            });
            let value = value.to_string();
            let record = FutureRecord::to(&topic).key(&session).payload(&value);
            let timeout = Duration::from_secs(30);
            producer
                .send(record, timeout)
                .await
                .map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}
