//! Sessions that move to other topics as a file.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use sundown::clock::Clock;
use tempfile::TempDir;

use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::process::Stream;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 60_000,
    absolute: None,
    lateness: 1_000,
};
const SESSIONS: usize = 30;
/// How long ago the sessions began, in milliseconds.
const AGO: i64 = 25_000;

fn event(session: &str, at: i64, kind: &str) -> NewRecord {
    let event = json!({"user_id": 7, "session_id": session, "activity_timestamp": at, "event": kind, "attributes": {"tenant": "acme"}});
    NewRecord::new(session, event.to_string())
}

fn write(installation: &Installation<'_>, events: impl IntoIterator<Item = NewRecord>) {
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, events);
}

fn await_endings(installation: &Installation<'_>, count: usize) {
    eventually(SOON, &format!("{count} endings"), || {
        (installation.endings().len() >= count).then_some(())
    });
}

/// Runs a command; returns whether it succeeded, and what it printed.
fn run(installation: &Installation<'_>, args: &[&str]) -> (bool, String) {
    let mut command = installation.sundown(args).start();
    let succeeded = command.wait(SOON).success();
    let text = command.text(Stream::Stdout) + &command.text(Stream::Stderr);
    (succeeded, text)
}

/// Sessions of an installation whose tracker has stopped: some are over, the others have moved on since
/// their checkpoint.
struct Sessions {
    start: i64,
    over: Vec<String>,
    live: Vec<String>,
}

impl Sessions {
    fn stopped(from: &Installation<'_>) -> Self {
        let tracker = from.tracker(&[]);
        tracker.await_ready();
        let keys = (0..3).cycle().take(SESSIONS).map(|on| from.key_on(on));
        let mut over: Vec<String> = keys.collect();
        let live = over.split_off(5);
        let start = Clock::default().wall().as_millis() - AGO;
        let sessions = Self { start, over, live };
        let all = sessions.over.iter().chain(&sessions.live);
        write(from, all.map(|one| event(one, start, "login")));
        let over = sessions.over.iter();
        write(from, over.map(|one| event(one, start + 1, "logout")));
        await_endings(from, sessions.over.len());
        for session in &sessions.live {
            from.await_checkpoint(session);
        }
        let live = sessions.live.iter().zip(0..);
        let active = live.map(|(one, number)| event(one, sessions.last(number), "activity"));
        write(from, active);
        from.await_caught_up();
        tracker.stop();
        sessions
    }

    /// The last activity of a live session.
    fn last(&self, number: i64) -> i64 {
        self.start + 2 + number
    }

    /// Checks that the live sessions have ended as they would have ended where they were, and the
    /// others not again.
    fn assert_ended(&self, to: &Installation<'_>) {
        let tracker = to.tracker(&[]);
        tracker.await_ready();
        let now = Clock::default().wall().as_millis();
        write(to, self.over.iter().map(|one| event(one, now, "logout")));
        await_endings(to, self.live.len());
        to.await_nothing_left();
        let (dropped, echoes) = (
            "sundown_tracker_dropped_events_total",
            self.over.len() as u64,
        );
        tracker.await_metric(dropped, "already_ended", echoes);
        tracker.stop();
        let endings = to.endings();
        assert_eq!(endings.len(), self.live.len());
        let found: BTreeSet<_> = endings
            .iter()
            .map(|one| {
                (
                    &one.session,
                    one.started_at,
                    one.last_activity,
                    one.ended_at,
                )
            })
            .collect();
        let expected = self.live.iter().zip(0..).map(|(session, number)| {
            let last = self.last(number);
            (session, Some(self.start), Some(last), last + LIMITS.idle)
        });
        assert_eq!(found, expected.collect());
        for one in &endings {
            let (user, reason) = (one.user.as_str(), one.reason.as_str());
            assert_eq!((user, reason), ("7", "idle_timeout"));
            assert_eq!(one.attributes, json!({"tenant": "acme"}).to_string());
        }
    }
}

/// Runs a command until it prints these words: trackers that have just stopped may still be in their
/// group.
fn run_until(installation: &Installation<'_>, args: &[&str], words: &str) -> (bool, String) {
    eventually(SOON, words, || {
        let (succeeded, text) = run(installation, args);
        text.contains(words).then_some((succeeded, text))
    })
}

/// Runs an import that has to fail with these words.
fn assert_refused(to: &Installation<'_>, file: &str, words: &str) {
    let (imported, text) = run_until(to, &["state", "import", "-f", file], words);
    assert!(!imported, "{text}");
}

#[test]
fn exported_sessions_end_elsewhere_as_they_would_have_ended() {
    let from = Installation::with_partitions(Kafka::shared(), LIMITS, 3);
    let to = Installation::with_partitions(Kafka::shared(), LIMITS, 5);
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("state.ndjson");
    let file = file.to_str().expect("UTF-8");
    let sessions = Sessions::stopped(&from);

    let (exported, text) = run(&from, &["state", "export", "-f", file]);
    assert!(exported, "{text}");
    let whole = fs::read_to_string(file).expect("a file");
    let last = whole.lines().last().expect("lines");
    // With those of the probes that show that everything was read.
    let records = SESSIONS + 3;
    assert_eq!(last, json!({"kind": "end", "records": records}).to_string());

    fs::write(file, &whole[..whole.len() - 40]).expect("a file");
    assert_refused(&to, file, "export the state again");
    fs::write(file, &whole).expect("a file");
    let early = to.tracker(&[]);
    early.await_ready();
    assert_refused(&to, file, "stop them first");
    early.stop();

    let import = ["state", "import", "-f", file];
    let (imported, text) = run_until(&to, &import, "25 live sessions on");
    assert!(imported && text.contains("; 0 partitions"), "{text}");
    let (imported, text) = run(&to, &import);
    assert!(imported && !text.contains("; 0 partitions"), "{text}");
    sessions.assert_ended(&to);
}

#[test]
fn state_is_not_imported_into_topics_that_have_sessions() {
    let installation = Installation::with_partitions(Kafka::shared(), LIMITS, 1);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("state.ndjson");
    let file = file.to_str().expect("UTF-8");
    for session in ["one", "two"] {
        let now = Clock::default().wall().as_millis();
        write(&installation, [event(session, now, "login")]);
        installation.await_checkpoint(session);
        if session == "one" {
            // A backup, beside the tracker.
            let (exported, text) = run(&installation, &["state", "export", "-f", file]);
            assert!(exported && text.contains("backup"), "{text}");
        }
    }
    tracker.stop();
    assert_refused(&installation, file, "state of its own");
}
