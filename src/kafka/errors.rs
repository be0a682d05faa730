//! Kafka errors with hints on how to fix them.

use std::sync::Mutex;
use std::time::Duration;
use std::{fmt, sync};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::reader_config::reader_config;

/// Bounds the connection attempt that reproduces an error.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bounds the wait for librdkafka's log messages about it.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);
/// The hint for a connection that fails without a known cause.
const UNREACHABLE_HINT: &str = "check that Kafka runs, its address -b HOST:PORT (SUNDOWN_BOOTSTRAP_SERVERS), and the --tls and --sasl flags";

/// Parts of librdkafka's messages about connections, and hints. Numbers are those of TLS
/// alerts (RFC 8446, section 6.2), with which brokers reject clients.
const CONNECTION_HINTS: [(&str, &str); 12] = [
    (
        "SASL OAUTHBEARER token: SSL",
        "the certificate of the token endpoint was not issued by a trusted CA; set --oauth-ca-file",
    ),
    (
        NO_TOKEN,
        "the token endpoint issued no usable token; check --oauth-token-url, --oauth-client-id, --oauth-client-secret-file and --oauth-scope",
    ),
    (
        "invalid_token",
        "the broker rejects the token; check --oauth-token-url, --oauth-scope, and the issuer, audience and keys that the broker expects",
    ),
    (
        "certificate verify failed",
        "the broker's certificate was not issued by a trusted CA; set --tls-ca-file",
    ),
    (
        "certificate required",
        "the broker requires client certificates; set --tls-cert-file and --tls-key-file",
    ),
    (
        "alert number 116",
        "the broker requires client certificates; set --tls-cert-file and --tls-key-file",
    ),
    (
        "alert number 42",
        "the broker rejects this client certificate; check --tls-cert-file, its expiry and the broker's trust store",
    ),
    (
        "alert number 46",
        "the broker rejects this client certificate; check --tls-cert-file, its expiry and the broker's trust store",
    ),
    (
        "alert number 48",
        "the broker does not trust the CA of this client certificate; check --tls-cert-file",
    ),
    (
        "SASL authentication error",
        "the broker rejects this user and password; check --sasl-username and --sasl-password-file",
    ),
    (
        "Unsupported SASL mechanism",
        "the broker does not support this SASL mechanism; check --sasl-mechanism",
    ),
    (
        "during SSL handshake",
        "the listener does not use TLS or requires client certificates; check the port in -b and --tls-cert-file",
    ),
];

/// How librdkafka reports that it has no token for SASL OAUTHBEARER.
const NO_TOKEN: &str = "Failed to acquire SASL OAUTHBEARER token";
/// Bounds the reports of a failed connection.
const MAX_REPORTS: usize = 100;

/// Displays an error of Kafka with a hint, if there is one.
#[derive(Debug)]
pub struct WithHint<'a>(pub &'a KafkaError);

impl fmt::Display for WithHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0.rdkafka_error_code().and_then(hint) {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

/// The hint for an error code that concerns permissions.
#[must_use]
pub const fn hint(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "this user lacks a permission on the topic; grant it Read to read, Write to write, or DescribeConfigs to read the configuration"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "this user lacks a permission on the consumer group; grant it Read to join or Describe to read offsets"
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "this user lacks a permission on the transactional id; grant it Write (the ids of trackers start with the name of their group)"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "this user may not write to any topic; grant it Write on the topics that it writes to"
        }
        // Reported for all queued records when the brokers refuse a transaction, whichever topic
        // they refuse.
        RDKafkaErrorCode::PurgeQueue => {
            "the brokers refused the transaction; if this user lacks Write on one of its topics, grant it"
        }
        _ => return None,
    })
}

/// Connects once more to find out why no broker can be reached; returns the reason and a
/// hint. Blocks for a few seconds.
#[must_use]
pub fn connection_failure(config: &ClientConfig) -> String {
    let Some(last_connection_error) = last_connection_error(config) else {
        return UNREACHABLE_HINT.to_owned();
    };
    let known = CONNECTION_HINTS
        .iter()
        .find(|(part, _)| last_connection_error.contains(part));
    let hint = known.map_or(UNREACHABLE_HINT, |(_, hint)| hint);
    format!("{last_connection_error}; {hint}")
}

/// The last message that librdkafka logs about a failed connection.
fn last_connection_error(config: &ClientConfig) -> Option<String> {
    let config = reader_config(config, "sundown");
    let consumer: BaseConsumer<ConnectionLog> =
        config.create_with_context(ConnectionLog::default()).ok()?;
    if consumer.fetch_metadata(None, CONNECT_TIMEOUT).is_ok() {
        return None;
    }
    // Delivers the messages, each error with a poll of its own; no partition is assigned.
    for _ in 0..MAX_REPORTS {
        if consumer.poll(LOG_TIMEOUT).is_none() {
            break;
        }
    }
    consumer.context().last()
}

/// Keeps the last message that librdkafka logs about connections.
#[derive(Debug, Default)]
struct ConnectionLog {
    last: Mutex<Option<String>>,
}

impl ConnectionLog {
    fn last(&self) -> Option<String> {
        let last = self.last.lock();
        last.unwrap_or_else(sync::PoisonError::into_inner).clone()
    }

    fn keep(&self, text: &str) {
        let last = self.last.lock();
        *last.unwrap_or_else(sync::PoisonError::into_inner) = Some(text.to_owned());
    }
}

impl ClientContext for ConnectionLog {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            // librdkafka repeats the thread and the broker in front of the message.
            let text = message.rsplit("]: ").next().unwrap_or(message);
            self.keep(text);
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        // Without a token, librdkafka does not connect, which it logs as a failure.
        if reason.starts_with(NO_TOKEN) {
            self.keep(reason);
        }
    }
}

impl ConsumerContext for ConnectionLog {}
