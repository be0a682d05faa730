//! Readiness and liveness of a process, reported by its threads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;

/// How long a helper thread may go without a heartbeat: longer than a few requests to brokers
/// that do not answer take.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

/// Problems by name, each with a human-readable reason.
pub type Problems = BTreeMap<Cow<'static, str>, String>;

/// Readiness and liveness of a process. Clones share one state; every method can be called
/// from any thread and takes well under a microsecond.
///
/// *Readiness* is a set of named conditions. A condition that was never set counts as met, so
/// set those to wait for before the server starts.
/// *Liveness* is a set of loops that have to keep beating: see [`Health::heartbeat`].
#[derive(Clone, Debug, Default)]
pub struct Health {
    inner: Arc<HealthInner>,
}

#[derive(Debug, Default)]
struct HealthInner {
    clock: Clock,
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    unmet: Problems,
    notes: Problems,
    loops: Vec<Weak<MonitoredLoop>>,
}

#[derive(Debug)]
struct MonitoredLoop {
    name: Cow<'static, str>,
    timeout: Duration,
    /// Milliseconds on the clock of [`HealthInner`]; [`IDLE`] while nothing is expected.
    last_beat: AtomicU64,
}

/// The last beat of a loop that waits for work.
const IDLE: u64 = u64::MAX;

/// The heartbeat of a loop. Dropping it and its clones ends the monitoring of the loop.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    monitored: Arc<MonitoredLoop>,
    clock: Clock,
}

impl Health {
    /// Declares condition `name` unmet because of `reason`: the process is not ready.
    pub fn set_not_ready(&self, name: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().unmet.insert(name.into(), reason.into());
    }

    /// Declares condition `name` met.
    pub fn set_ready(&self, name: &str) {
        self.state().unmet.remove(name);
    }

    /// Adds or replaces the note `name`, which leaves readiness and liveness as they are.
    pub fn set_note(&self, name: impl Into<Cow<'static, str>>, note: impl Into<String>) {
        self.state().notes.insert(name.into(), note.into());
    }

    /// Removes the note `name`.
    pub fn remove_note(&self, name: &str) {
        self.state().notes.remove(name);
    }

    /// Adds a note on the partitions that an operator has paused. Without any, removes the note.
    pub fn note_paused(&self, partitions: &[i32]) {
        const NAME: &str = "paused";
        if partitions.is_empty() {
            self.remove_note(NAME);
            return;
        }
        let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        let note = format!(
            "partitions {} are paused by an operator; `sundown partitions list` shows the reason",
            numbers.join(", ")
        );
        self.set_note(NAME, note);
    }

    /// Information that affects neither readiness nor liveness.
    #[must_use]
    pub fn notes(&self) -> Problems {
        self.state().notes.clone()
    }

    /// Registers a loop, beginning with a beat. The process is not live once the loop has not
    /// beaten for longer than `timeout`. Several loops may share a name.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<Cow<'static, str>>, timeout: Duration) -> Heartbeat {
        let monitored = Arc::new(MonitoredLoop {
            name: name.into(),
            timeout,
            last_beat: AtomicU64::new(0),
        });
        self.state().loops.push(Arc::downgrade(&monitored));
        let clock = self.inner.clock;
        let heartbeat = Heartbeat { monitored, clock };
        heartbeat.beat();
        heartbeat
    }

    /// Starts a thread with a [heartbeat](Self::heartbeat) of the same name, which ends with the
    /// thread. `work` has to beat more often than every `timeout`, or
    /// [wait](Heartbeat::wait_for_work).
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn spawn(
        &self,
        name: &str,
        timeout: Duration,
        work: impl FnOnce(Heartbeat) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let heartbeat = self.heartbeat(name.to_owned(), timeout);
        let thread = thread::Builder::new().name(name.to_owned());
        #[expect(clippy::disallowed_methods, reason = "the thread has a heartbeat here")]
        thread.spawn(move || work(heartbeat))
    }

    /// The unmet conditions; empty if the process is ready.
    #[must_use]
    pub fn not_ready(&self) -> Problems {
        self.state().unmet.clone()
    }

    /// The loops without a recent heartbeat; empty if the process is live.
    #[must_use]
    pub fn stalled(&self) -> Problems {
        self.stalled_at(self.inner.clock.elapsed())
    }

    fn stalled_at(&self, now: Duration) -> Problems {
        let mut state = self.state();
        state.loops.retain(|entry| entry.strong_count() > 0);
        let loops = state.loops.iter().filter_map(Weak::upgrade);
        loops.filter_map(|entry| entry.problem(now)).collect()
    }

    /// A panic cannot leave a change half done, so a poisoned lock is safe to use.
    fn state(&self) -> MutexGuard<'_, HealthState> {
        let lock = self.inner.state.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// Records a heartbeat.
    pub fn beat(&self) {
        let now = millis(self.clock.elapsed());
        self.monitored.last_beat.store(now, Ordering::Relaxed);
    }

    /// Records that the loop waits for work: until the next beat, no beat is expected.
    pub fn wait_for_work(&self) {
        self.monitored.last_beat.store(IDLE, Ordering::Relaxed);
    }
}

impl MonitoredLoop {
    fn problem(&self, now: Duration) -> Option<(Cow<'static, str>, String)> {
        // An idle loop has its next beat in the future.
        let last_beat = Duration::from_millis(self.last_beat.load(Ordering::Relaxed));
        let age = now.saturating_sub(last_beat);
        let secs = |duration: Duration| duration.as_secs_f64();
        (age > self.timeout).then(|| {
            let reason = format!(
                "no heartbeat for {:.1} s; the limit is {:.1} s",
                secs(age),
                secs(self.timeout)
            );
            (self.name.clone(), reason)
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_condition_is_unmet_until_it_is_set_ready() {
        let health = Health::default();
        assert!(health.not_ready().is_empty());
        health.set_not_ready("clock", "differs by 11 s");
        let elsewhere = health.clone();
        elsewhere.set_not_ready("restore", "2 of 3 partitions");
        health.set_not_ready("clock", "differs by 12 s");
        assert_eq!(health.not_ready().len(), 2);
        assert_eq!(health.not_ready()["clock"], "differs by 12 s");
        health.set_ready("clock");
        health.set_ready("never set");
        assert_eq!(
            health.not_ready().into_keys().collect::<Vec<_>>(),
            ["restore"]
        );
    }

    #[test]
    fn a_loop_is_stalled_once_its_last_beat_is_older_than_the_timeout() {
        let health = Health::default();
        let heartbeat = health.heartbeat("consumer", TIMEOUT);
        let _other = health.heartbeat("clock check", 3 * TIMEOUT);
        let start = health.inner.clock.elapsed();
        assert!(health.stalled_at(start + TIMEOUT / 2).is_empty());
        let stalled = health.stalled_at(start + 2 * TIMEOUT);
        assert_eq!(stalled.keys().collect::<Vec<_>>(), ["consumer"]);
        assert!(stalled["consumer"].contains("no heartbeat for"));
        drop(heartbeat);
        assert!(health.stalled_at(start + 2 * TIMEOUT).is_empty());
    }

    #[test]
    fn a_thread_is_monitored_until_it_ends_except_while_it_waits_for_work() {
        let health = Health::default();
        let (work, queue) = std::sync::mpsc::channel::<bool>();
        let (beaten, beats) = std::sync::mpsc::channel();
        let thread = health.spawn("commit", TIMEOUT, move |heartbeat| {
            for busy in queue {
                if busy {
                    heartbeat.beat();
                } else {
                    heartbeat.wait_for_work();
                }
                beaten.send(()).unwrap();
            }
        });
        let later = health.inner.clock.elapsed() + 2 * TIMEOUT;
        for busy in [false, true, false] {
            work.send(busy).unwrap();
            beats.recv().unwrap();
            assert_eq!(health.stalled_at(later).contains_key("commit"), busy);
        }
        work.send(true).unwrap();
        drop(work);
        thread.unwrap().join().unwrap();
        assert!(health.stalled_at(later).is_empty());
    }

    #[test]
    fn one_stalled_loop_of_several_with_one_name_is_enough() {
        let health = Health::default();
        let stalled = health.heartbeat("partition", TIMEOUT);
        let active = health.heartbeat("partition", TIMEOUT);
        let later = health.inner.clock.elapsed() + 2 * TIMEOUT;
        active
            .monitored
            .last_beat
            .store(millis(later), Ordering::Relaxed);
        assert_eq!(health.stalled_at(later).len(), 1);
        drop(stalled);
        assert!(health.stalled_at(later).is_empty());
    }
}
