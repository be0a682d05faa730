//! The access log of the website that some synthetic users visit, and the source that maps it.
//!
//! The website knows nothing of sessions that end: it appends a line for each request to a topic of
//! its own, under no key. `sundown ingest` makes session events of the lines.

use super::synthetic::SyntheticEvent;
use crate::session::EventKind;
use crate::source::document::SessionSource;

/// The topic of the access log, without the prefix.
const TOPIC: &str = "website_access";
/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 2;
/// A request of the load balancer follows this many requests of users.
const HEALTH_CHECK_EVERY: u64 = 10;
/// Pages that users visit.
const PAGES: [&str; 4] = ["/", "/search", "/cart", "/account"];

/// Maps lines of [`AccessLog`]. Requests without a session are skipped.
const SOURCE: &str = r#"
apiVersion: sundown.dev/v1alpha1
kind: SessionSource
metadata: {name: website}
spec:
  topics: []
  format: text
  pattern: '^(?<address>\S+) - (?<user>\S+) \[(?<time>[0-9.]+)\] "(?<method>[A-Z]+) (?<path>\S+) [^"]*" (?<status>\d{3}) (?<session>\S+)$'
  when: value.session != '-' && value.status < '400'
  session:
    id: value.session
    user: value.user
    time: value.time
    event: "value.path == '/login' ? 'login' : value.path == '/logout' ? 'logout' : 'activity'"
    attributes: {client: "'web'"}
"#;

/// Returns the name of the topic.
pub(super) fn topic(prefix: &str) -> String {
    format!("{prefix}{TOPIC}")
}

/// Returns the source that maps the lines of the topic.
pub(super) fn source(prefix: &str) -> serde_yaml::Result<SessionSource> {
    let mut source: SessionSource = serde_yaml::from_str(SOURCE)?;
    source.spec.topics = vec![topic(prefix)];
    Ok(source)
}

/// Writes the lines of requests, like an nginx with `[$msec]` and the session cookie in its format.
#[derive(Debug, Default)]
pub(super) struct AccessLog {
    requests: u64,
}

impl AccessLog {
    /// Returns the lines of a request, and of the health check that may follow it; `None` for an
    /// event that no request causes.
    pub(super) fn lines(&mut self, event: &SyntheticEvent) -> Option<Vec<String>> {
        let request = match event.kind {
            EventKind::Login => "POST /login".to_owned(),
            EventKind::Logout => "POST /logout".to_owned(),
            EventKind::Activity => {
                let page = usize::try_from(self.requests).unwrap_or_default() % PAGES.len();
                format!("GET {}", PAGES[page])
            }
            EventKind::Revoke | EventKind::Rotated => return None,
        };
        self.requests += 1;
        let millis = event.at.as_millis();
        let time = format!("{}.{:03}", millis / 1_000, millis % 1_000);
        let (user, session) = (event.user_name(), event.session);
        let mut lines = vec![format!(
            r#"192.0.2.{} - {user} [{time}] "{request} HTTP/1.1" 200 {session}"#,
            event.user % 250 + 1
        )];
        if self.requests.is_multiple_of(HEALTH_CHECK_EVERY) {
            lines.push(format!(
                r#"198.51.100.1 - - [{time}] "GET /healthz HTTP/1.1" 200 -"#
            ));
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::session::{Subject, Timestamp};
    use crate::source::mapping::{Mapped, Mapping};
    use crate::source::record::InputRecord;
    use crate::wire::event::{DecodeLimits, decode};

    fn map(mapping: &Mapping, line: &str) -> Mapped {
        let record = InputRecord {
            value: Some(line.as_bytes()),
            ..InputRecord::default()
        };
        mapping.map(&record).unwrap()
    }

    #[test]
    fn the_source_maps_each_request_to_the_event_behind_it() {
        let mapping = Mapping::compile(&source("demo-").unwrap()).unwrap();
        assert!(mapping.reads("demo-website_access"));
        let mut log = AccessLog::default();
        let kinds = [EventKind::Login, EventKind::Activity, EventKind::Logout];
        for (kind, number) in kinds.into_iter().cycle().zip(0..30) {
            let event = SyntheticEvent {
                user: 10,
                session: Uuid::from_u128(7),
                kind,
                at: Timestamp::from_millis(1_738_929_600_005 + number),
            };
            let lines = log.lines(&event).unwrap();
            let Mapped::Event(mapped) = map(&mapping, &lines[0]) else {
                panic!("{lines:?}");
            };
            let decoded = decode(Some(&mapped.value), None, &DecodeLimits::default()).unwrap();
            let decoded = decoded.event();
            assert_eq!((decoded.kind, decoded.at), (event.kind, event.at));
            let Subject::Session { id, user } = decoded.subject else {
                panic!("{lines:?}");
            };
            assert_eq!(id, event.session.to_string());
            assert_eq!(user.unwrap().text, "user-1010");
            for line in &lines[1..] {
                assert!(matches!(map(&mapping, line), Mapped::Skipped), "{line}");
            }
            assert_eq!(lines.len() > 1, number % 10 == 9);
        }
    }
}
