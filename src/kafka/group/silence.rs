//! Members whose client no broker answers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

use super::GroupConsumer;
use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::connection_health::ConnectionHealth;
use crate::kafka::recreating_producer::is_silence;

/// How long brokers may answer others alone. librdkafka itself replaces a dead connection first: by default it
/// waits 30 s for a response, then up to 2 s, and up to 10 s for the next connection. After metadata without
/// brokers, which a broker that starts may return, it never connects again (confluentinc/librdkafka#5301).
const MAX_SILENCE: Duration = Duration::from_secs(45);
/// How often the member's client asks.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How often the thread looks whether the member is there.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Bounds one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// No broker answers the member's client, although brokers answer others.
#[derive(Debug, thiserror::Error)]
#[error(
    "no broker has answered the consumer for {} s although brokers answer new connections; restart the process",
    MAX_SILENCE.as_secs()
)]
pub struct SilentMember;

/// Asks the brokers by the client of a member, on a thread. The process is not ready once they have not answered
/// for a minute.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    is_silent: Arc<AtomicBool>,
    /// Since when brokers have answered each request of the member or of a new client.
    answers_since: Arc<Mutex<Option<Duration>>>,
    stop: CancellationToken,
}

impl SilenceWatch {
    /// Starts the thread, which ends with the watch.
    pub(super) fn start(
        consumer: &Arc<GroupConsumer>,
        config: ClientConfig,
        clock: Clock,
        health: &Health,
    ) -> io::Result<Self> {
        let is_silent = Arc::new(AtomicBool::new(false));
        let answers_since = Arc::default();
        let stop = CancellationToken::new();
        let watch = Self {
            is_silent: Arc::clone(&is_silent),
            answers_since: Arc::clone(&answers_since),
            stop: stop.clone(),
        };
        // The thread must not keep the member in its group.
        let consumer = Arc::downgrade(consumer);
        // How long brokers have answered others alone: while they answer no client, the member is
        // not silent, and after that it takes a moment to connect.
        let mut others_since = None;
        let mut connection = ConnectionHealth::new(clock, health.clone());
        let ask = move |heartbeat: Heartbeat| {
            let mut next = clock.elapsed() + ASK_INTERVAL;
            while !stop.is_cancelled() {
                heartbeat.beat();
                std::thread::sleep(POLL_INTERVAL);
                if clock.elapsed() < next {
                    continue;
                }
                next = clock.elapsed() + ASK_INTERVAL;
                let Some(consumer) = Weak::upgrade(&consumer) else {
                    return;
                };
                let answer = consumer.ask(REQUEST_TIMEOUT);
                connection.observe(&answer);
                let only_others = answer.as_ref().is_err_and(is_silence) && brokers_answer(&config);
                let now = clock.elapsed();
                let mut since = answers_since.lock().unwrap_or_else(PoisonError::into_inner);
                *since = (answer.is_ok() || only_others).then(|| since.unwrap_or(now));
                drop(since);
                if !only_others {
                    others_since = None;
                    continue;
                }
                if now.saturating_sub(*others_since.get_or_insert(now)) >= MAX_SILENCE {
                    is_silent.store(true, Ordering::Relaxed);
                }
            }
        };
        health.spawn("connection", HELPER_TIMEOUT, ask)?;
        Ok(watch)
    }

    /// Returns since when brokers have answered without a failure, by the clock of the start; `None` while they
    /// do not.
    pub(super) fn answers_since(&self) -> Option<Duration> {
        let since = self.answers_since.lock();
        *since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that brokers answer the member, unless they answer no client.
    pub(super) fn check(&self) -> Result<(), SilentMember> {
        if self.is_silent.load(Ordering::Relaxed) {
            Err(SilentMember)
        } else {
            Ok(())
        }
    }
}

impl Drop for SilenceWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Asks by a new client, whose connections are not those that are silent.
fn brokers_answer(config: &ClientConfig) -> bool {
    let client: Result<BaseConsumer, _> = config.create();
    client.is_ok_and(|client| client.fetch_metadata(None, REQUEST_TIMEOUT).is_ok())
}
