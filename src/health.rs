//! How a process is doing, as its threads report it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::clock::Clock;

/// What is wrong, by name, each with a reason for people.
pub type Problems = BTreeMap<Cow<'static, str>, String>;

/// How a process is doing. Clones share one state; every method can be called from any
/// thread and takes well under a microsecond.
///
/// *Readiness* is a set of named conditions. A condition that was never mentioned
/// counts as met, so name what has to be waited for before the server starts.
/// *Liveness* is a set of loops that have to move: see [`Health::heartbeat`].
#[derive(Clone, Debug, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unmet: Problems,
    notes: Problems,
    loops: Vec<Weak<Loop>>,
}

#[derive(Debug)]
struct Loop {
    name: Cow<'static, str>,
    max_age: Duration,
    /// Milliseconds on the health's clock.
    last_beat: AtomicU64,
}

/// One loop's sign of life. Dropping it takes the loop off the books: the loop is over,
/// not stuck.
#[derive(Debug)]
pub struct Heartbeat {
    this: Arc<Loop>,
    clock: Clock,
}

impl Health {
    /// Declares condition `name` unmet: the process should get no work, because of `reason`.
    pub fn set_not_ready(&self, name: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().unmet.insert(name.into(), reason.into());
    }

    /// Declares condition `name` met.
    pub fn set_ready(&self, name: &str) {
        self.state().unmet.remove(name);
    }

    /// Tells of something that whoever asks for readiness should know though it keeps the
    /// process from nothing: partitions that somebody has paused.
    pub fn note_paused(&self, partitions: &[i32]) {
        const NAME: &str = "paused";
        let notes = &mut self.state().notes;
        if partitions.is_empty() {
            notes.remove(NAME);
            return;
        }
        let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        let note = format!(
            "partitions {} are paused by an operator: `sundown partitions list` says why",
            numbers.join(", ")
        );
        notes.insert(NAME.into(), note);
    }

    /// What is to be known though it keeps the process from nothing.
    #[must_use]
    pub fn notes(&self) -> Problems {
        self.state().notes.clone()
    }

    /// Registers a loop that beats at least once every `max_age`, or else makes the process
    /// count as dead. Starts with a beat. Several loops may share a name.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<Cow<'static, str>>, max_age: Duration) -> Heartbeat {
        let this = Arc::new(Loop {
            name: name.into(),
            max_age,
            last_beat: AtomicU64::new(0),
        });
        self.state().loops.push(Arc::downgrade(&this));
        let clock = self.shared.clock;
        let heartbeat = Heartbeat { this, clock };
        heartbeat.beat();
        heartbeat
    }

    /// The conditions that are not met; none if the process is ready.
    #[must_use]
    pub fn not_ready(&self) -> Problems {
        self.state().unmet.clone()
    }

    /// The loops that do not move; none if the process is live.
    #[must_use]
    pub fn stalled(&self) -> Problems {
        self.stalled_at(self.shared.clock.elapsed())
    }

    fn stalled_at(&self, now: Duration) -> Problems {
        let mut state = self.state();
        state.loops.retain(|entry| entry.strong_count() > 0);
        let loops = state.loops.iter().filter_map(Weak::upgrade);
        loops.filter_map(|entry| entry.problem(now)).collect()
    }

    /// No change of the state can be left half done, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        let lock = self.shared.state.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heartbeat {
    /// The loop has come round.
    pub fn beat(&self) {
        let now = millis(self.clock.elapsed());
        self.this.last_beat.store(now, Ordering::Relaxed);
    }
}

impl Loop {
    fn problem(&self, now: Duration) -> Option<(Cow<'static, str>, String)> {
        let last_beat = Duration::from_millis(self.last_beat.load(Ordering::Relaxed));
        let age = now.saturating_sub(last_beat);
        let secs = |duration: Duration| duration.as_secs_f64();
        (age > self.max_age).then(|| {
            let reason = format!(
                "has not moved for {:.1} s; {:.1} s are allowed",
                secs(age),
                secs(self.max_age)
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

    const ALLOWED: Duration = Duration::from_secs(10);

    #[test]
    fn a_condition_counts_from_when_it_is_named_until_it_is_met() {
        let health = Health::default();
        assert!(health.not_ready().is_empty());
        health.set_not_ready("clock", "differs by 11 s");
        let elsewhere = health.clone();
        elsewhere.set_not_ready("restore", "2 of 3 partitions");
        health.set_not_ready("clock", "differs by 12 s");
        assert_eq!(health.not_ready().len(), 2);
        assert_eq!(health.not_ready()["clock"], "differs by 12 s");
        health.set_ready("clock");
        health.set_ready("never mentioned");
        assert_eq!(
            health.not_ready().into_keys().collect::<Vec<_>>(),
            ["restore"]
        );
    }

    #[test]
    fn a_loop_is_stuck_once_its_last_beat_is_too_old() {
        let health = Health::default();
        let pulse = health.heartbeat("consumer", ALLOWED);
        let _other = health.heartbeat("clock check", 3 * ALLOWED);
        let start = health.shared.clock.elapsed();
        assert!(health.stalled_at(start + ALLOWED / 2).is_empty());
        let stalled = health.stalled_at(start + 2 * ALLOWED);
        assert_eq!(stalled.keys().collect::<Vec<_>>(), ["consumer"]);
        assert!(stalled["consumer"].contains("has not moved for"));
        drop(pulse);
        assert!(health.stalled_at(start + 2 * ALLOWED).is_empty());
    }

    #[test]
    fn one_stuck_loop_of_several_by_the_same_name_is_enough() {
        let health = Health::default();
        let stuck = health.heartbeat("partition", ALLOWED);
        let active = health.heartbeat("partition", ALLOWED);
        let later = health.shared.clock.elapsed() + 2 * ALLOWED;
        active
            .this
            .last_beat
            .store(millis(later), Ordering::Relaxed);
        assert_eq!(health.stalled_at(later).len(), 1);
        drop(stuck);
        assert!(health.stalled_at(later).is_empty());
    }
}
