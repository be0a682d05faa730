//! Polls the state of other processes until a condition holds.

use std::thread;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(20);

/// A point in time by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Self(now() + timeout)
    }

    /// The time left, or `None` once there is none.
    pub fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(now());
        (!left.is_zero()).then_some(left)
    }
}

/// Asks until there is an answer, and returns it.
///
/// # Panics
/// When there is none within `timeout`; `what` completes "waited in vain for …".
pub fn eventually<T>(timeout: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    let Some(answer) = within(timeout, ask) else {
        panic!("waited in vain for {what} ({timeout:?})");
    };
    answer
}

/// Asks until there is an answer; `None` if there is none within `timeout`.
pub fn within<T>(timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(timeout);
    loop {
        let answer = ask();
        if answer.is_some() || deadline.left().is_none() {
            return answer;
        }
        thread::sleep(INTERVAL);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests wait for real processes in real time"
)]
fn now() -> Instant {
    Instant::now()
}
