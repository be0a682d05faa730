//! CPU time of the thread.

use std::time::Duration;

/// How long this thread has run so far. Other processes on the machine do not count, except for what
/// they do to the caches.
pub fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat");
    let stat = stat.expect("Linux counts the run time of threads");
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number of nanoseconds"))
}
