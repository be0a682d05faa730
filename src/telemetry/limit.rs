//! Limits repeated errors in the log to one line per cause in 30 seconds.
//!
//! Brokers that are away make every client of a process report every attempt to connect: thousands
//! of lines a minute with the same content. The first line of a cause is written at once; the next
//! one after the interval has the field `repeated` with the number of those left out.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// How long further lines of a cause are left out.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most causes known at a time; lines of further ones are written.
const MAX_CAUSES: usize = 1_000;
/// Targets of librdkafka's messages.
const LIBRDKAFKA: [&str; 2] = ["librdkafka", "rdkafka"];

/// A digest of what an event says, without its numbers.
pub(super) type Fingerprint = u64;

/// The cause of a warning or error that may repeat itself: those with an `error` or a `reason`, and
/// librdkafka's. Other events happen once each.
pub(super) fn cause(event: &Event<'_>) -> Option<Fingerprint> {
    let metadata = event.metadata();
    let target = metadata.target().split("::").next().unwrap_or_default();
    let librdkafka = LIBRDKAFKA.contains(&target);
    let fields = metadata.fields();
    let reports = ["error", "reason"]
        .iter()
        .any(|name| fields.field(name).is_some());
    if !librdkafka && (*metadata.level() > Level::WARN || !reports) {
        return None;
    }
    let mut visitor = CauseVisitor::default();
    event.record(&mut visitor);
    (metadata.file(), metadata.line()).hash(&mut visitor.hasher);
    Some(visitor.hasher.finish())
}

/// Hashes fields, without digits and without librdkafka's prefixes, which name a client and a
/// thread.
#[derive(Default)]
struct CauseVisitor {
    hasher: DefaultHasher,
    text: String,
}

impl Visit for CauseVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text.clear();
        // Writing to a string cannot fail.
        let _infallible = write!(self.text, "{value:?}");
        let text = self.text.rsplit("]: ").next().unwrap_or(&self.text);
        let text = text.split(" (after ").next().unwrap_or(text);
        field.name().hash(&mut self.hasher);
        for letter in text.chars().filter(|letter| !letter.is_ascii_digit()) {
            letter.hash(&mut self.hasher);
        }
    }
}

/// What is done with an event.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Written, with the number of those left out before it.
    Write(u64),
    LeaveOut,
}

/// The causes of the last interval.
#[derive(Debug, Default)]
struct Causes(HashMap<Fingerprint, (Duration, u64)>);

impl Causes {
    fn decide(&mut self, cause: Fingerprint, now: Duration) -> Decision {
        if let Some((since, left_out)) = self.0.get_mut(&cause) {
            if now.saturating_sub(*since) < INTERVAL {
                *left_out += 1;
                return Decision::LeaveOut;
            }
            *since = now;
            return Decision::Write(std::mem::take(left_out));
        }
        if self.0.len() >= MAX_CAUSES {
            // Those of before; what they left out is lost.
            self.0
                .retain(|_, (since, _)| now.saturating_sub(*since) < INTERVAL);
        }
        if self.0.len() < MAX_CAUSES {
            self.0.insert(cause, (now, 0));
        }
        Decision::Write(0)
    }
}

/// Writes events in another format, and leaves out those that repeat themselves.
pub(super) struct Limited<F> {
    inner: F,
    /// Whether the other format writes JSON objects.
    json: bool,
    clock: Clock,
    causes: Mutex<Causes>,
}

impl<F> Limited<F> {
    pub(super) fn new(inner: F, json: bool) -> Self {
        Self {
            inner,
            json,
            clock: Clock::default(),
            causes: Mutex::default(),
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let decision = cause(event).map_or(Decision::Write(0), |cause| {
            let causes = self.causes.lock();
            let mut causes = causes.unwrap_or_else(PoisonError::into_inner);
            causes.decide(cause, self.clock.elapsed())
        });
        match decision {
            Decision::LeaveOut => Ok(()),
            Decision::Write(0) => self.inner.format_event(context, writer, event),
            Decision::Write(left_out) => {
                let mut line = String::new();
                self.inner
                    .format_event(context, Writer::new(&mut line), event)?;
                let line = line.trim_end();
                match (self.json, line.strip_suffix('}')) {
                    (true, Some(open)) => {
                        writeln!(writer, "{open},\"repeated\":{left_out}}}")
                    }
                    _ => writeln!(writer, "{line} repeated={left_out}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(write: impl FnOnce()) -> Vec<String> {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .json()
            .flatten_event(true)
            .map_event_format(|format| Limited::new(format, true))
            .finish();
        tracing::subscriber::with_default(subscriber, write);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_cause_has_one_line_and_others_have_theirs() {
        let lines = logged(|| {
            for number in 0..1_000 {
                tracing::warn!(error = %format!("broker {number} is down"), "cannot read");
                tracing::error!(target: "librdkafka", "librdkafka: FAIL [thrd:b:{number}/{number}]: b:9092/{number}: Connect to 10.0.0.1:9092 failed: Connection refused (after {number}ms in state CONNECT)");
            }
            tracing::warn!(error = "another", "cannot read");
            for _ in 0..3 {
                tracing::warn!("lost the leadership");
                tracing::info!(error = "none", "done");
            }
        });
        assert_eq!(lines.len(), 1 + 1 + 1 + 3 + 3, "{lines:#?}");
    }

    #[test]
    fn the_next_line_after_the_interval_has_the_count() {
        let mut causes = Causes::default();
        let start = Duration::from_secs(5);
        assert_eq!(causes.decide(1, start), Decision::Write(0));
        for _ in 0..7 {
            assert_eq!(causes.decide(1, start + INTERVAL / 2), Decision::LeaveOut);
        }
        assert_eq!(causes.decide(2, start), Decision::Write(0));
        assert_eq!(causes.decide(1, start + INTERVAL), Decision::Write(7));
        assert_eq!(causes.decide(1, start + 2 * INTERVAL), Decision::Write(0));
        for cause in 3..10_000 {
            assert_eq!(
                causes.decide(cause, start + 2 * INTERVAL),
                Decision::Write(0)
            );
        }
        assert!(causes.0.len() <= MAX_CAUSES);
    }
}
