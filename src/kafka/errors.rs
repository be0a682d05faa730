//! What keeps this process from Kafka, in words, with the remedy.

use std::sync::Mutex;
use std::time::Duration;
use std::{fmt, sync};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message};

use super::reader_config::reader_config;

/// How long a connection may take to fail once more.
const FAILS_WITHIN: Duration = Duration::from_secs(3);
/// How long what was logged about it may take to get here.
const TOLD_WITHIN: Duration = Duration::from_millis(100);
/// What to do when nothing is known but that nobody answers.
const NOBODY: &str = "start it, or name its address with -b HOST:PORT (SUNDOWN_BOOTSTRAP_SERVERS), and check the --tls and --sasl flags";

/// What librdkafka says of a connection, in parts, and what to do about it. The numbers are
/// those of TLS alerts (RFC 8446, section 6.2), which is how brokers refuse.
const REMEDIES: [(&str, &str); 9] = [
    (
        "certificate verify failed",
        "the broker's certificate is not from an authority that this process trusts: name the right one with --tls-ca-file",
    ),
    (
        "certificate required",
        "the broker wants a certificate of its clients: give --tls-cert-file and --tls-key-file",
    ),
    (
        "alert number 116",
        "the broker wants a certificate of its clients: give --tls-cert-file and --tls-key-file",
    ),
    (
        "alert number 42",
        "the broker does not accept this client's certificate: check --tls-cert-file, how long it is valid, and who the broker trusts",
    ),
    (
        "alert number 46",
        "the broker does not accept this client's certificate: check --tls-cert-file, how long it is valid, and who the broker trusts",
    ),
    (
        "alert number 48",
        "the broker does not know the authority of this client's certificate: check --tls-cert-file",
    ),
    (
        "SASL authentication error",
        "the broker does not know this user by this password: check --sasl-username and --sasl-password-file",
    ),
    (
        "Unsupported SASL mechanism",
        "the broker does not take this way to authenticate: check --sasl-mechanism",
    ),
    (
        "during SSL handshake",
        "the broker does not speak TLS there, or wants a certificate of its clients: check the port in -b, and --tls-cert-file",
    ),
];

/// An error of Kafka and, if one is known, its remedy.
#[derive(Debug)]
pub struct WithHint<'a>(pub &'a KafkaError);

impl fmt::Display for WithHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0.rdkafka_error_code().and_then(remedy) {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

/// What to do about an answer of the brokers, if it is about permissions.
#[must_use]
pub const fn remedy(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "this user lacks a permission on the topic: grant it Read to read, Write to write, DescribeConfigs to see how it is set up"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "this user lacks a permission on the consumer group: grant it Read to be a member, Describe to look at it"
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "this user lacks a permission on the transactional id: grant it Write on it; trackers' ids begin with the name of their group"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "this user may write to no topic at all: grant it Write on those that it writes to"
        }
        // What is left in the queue when the brokers refuse a transaction; librdkafka logs for
        // which topic.
        RDKafkaErrorCode::PurgeQueue => {
            "the brokers refused the transaction: if this user lacks Write on the topic, or on another that librdkafka names, grant it"
        }
        _ => return None,
    })
}

/// Why no broker can be asked, and the remedy. Connects once more to find out, which may take
/// some seconds.
#[must_use]
pub fn connection_failure(config: &ClientConfig) -> String {
    let Some(last_connection_error) = last_connection_error(config) else {
        return NOBODY.to_owned();
    };
    let known = REMEDIES
        .iter()
        .find(|(part, _)| last_connection_error.contains(part));
    let remedy = known.map_or(NOBODY, |(_, remedy)| remedy);
    format!("{last_connection_error}; {remedy}")
}

/// The last that librdkafka says about connections that fail.
fn last_connection_error(config: &ClientConfig) -> Option<String> {
    let config = reader_config(config, "sundown");
    let consumer: BaseConsumer<Listener> = config.create_with_context(Listener::default()).ok()?;
    if consumer.fetch_metadata(None, FAILS_WITHIN).is_ok() {
        return None;
    }
    // It tells only whoever polls. There is nothing to be read.
    let _nothing = consumer
        .poll(TOLD_WITHIN)
        .map(|read| read.map(|record| record.offset()));
    consumer.context().last()
}

/// Hears what librdkafka logs about connections.
#[derive(Debug, Default)]
struct Listener {
    last: Mutex<Option<String>>,
}

impl Listener {
    fn last(&self) -> Option<String> {
        let last = self.last.lock();
        last.unwrap_or_else(sync::PoisonError::into_inner).clone()
    }
}

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            // Before it stand the thread and the broker, as often as it likes.
            let said = message.rsplit("]: ").next().unwrap_or(message);
            let last = self.last.lock();
            *last.unwrap_or_else(sync::PoisonError::into_inner) = Some(said.to_owned());
        }
    }

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Listener {}
