//! Members whose client no broker answers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

use super::GroupConsumer;
use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::recreating_producer::{MAX_SILENCE, is_silence};

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

/// Asks the brokers by the client of a member, on a thread.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    is_silent: Arc<AtomicBool>,
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
        let stop = CancellationToken::new();
        let watch = Self {
            is_silent: Arc::clone(&is_silent),
            stop: stop.clone(),
        };
        // The thread must not keep the member in its group.
        let consumer = Arc::downgrade(consumer);
        // How long brokers have answered others alone: while they answer no client, the member is
        // not silent, and after that it takes a moment to connect.
        let mut others_since = None;
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
                if !answer.as_ref().is_err_and(is_silence) || !brokers_answer(&config) {
                    others_since = None;
                    continue;
                }
                let now = clock.elapsed();
                if now.saturating_sub(*others_since.get_or_insert(now)) >= MAX_SILENCE {
                    is_silent.store(true, Ordering::Relaxed);
                }
            }
        };
        health.spawn("connection", HELPER_TIMEOUT, ask)?;
        Ok(watch)
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
pub(super) fn brokers_answer(config: &ClientConfig) -> bool {
    let client: Result<BaseConsumer, _> = config.create();
    client.is_ok_and(|client| client.fetch_metadata(None, REQUEST_TIMEOUT).is_ok())
}
