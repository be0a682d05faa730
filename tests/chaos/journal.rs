//! The journal of a run: events with their times, and the progress of the schedule.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use sundown::clock::Clock;

use crate::schedule;

/// The journal of one run.
pub struct Journal {
    clock: Clock,
    folder: PathBuf,
    /// Total number of faults.
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    file: File,
    faults: BTreeMap<&'static str, usize>,
    /// No further faults are injected.
    over: bool,
    /// Counts of permitted side effects of faults.
    remarks: BTreeMap<&'static str, usize>,
    /// Events that fail the run.
    violation: Vec<String>,
}

impl State {
    fn count(&self) -> usize {
        self.faults.values().sum()
    }
}

impl Journal {
    /// Creates the journal and the logs' folder.
    pub fn new(name: &str, limit: usize) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let file = File::create(folder.join("journal")).expect("a file");
        Self {
            clock: Clock::default(),
            folder,
            limit,
            state: Mutex::new(State {
                file,
                faults: BTreeMap::new(),
                over: limit == 0,
                remarks: BTreeMap::new(),
                violation: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Folder of the trackers' logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn note(&self, text: &str) {
        let now = self.clock.wall().as_millis();
        let now = DateTime::from_timestamp_millis(now).expect("a time");
        let elapsed = self.clock.elapsed().as_secs_f64();
        let file = &mut self.state().file;
        writeln!(
            file,
            "{} {elapsed:8.3} s  {text}",
            now.format("%H:%M:%S%.3f")
        )
        .expect("written");
    }

    /// Records an event that fails the run.
    pub fn violation(&self, text: &str) {
        self.note(text);
        self.state().violation.push(text.to_owned());
    }

    /// Records and counts a permitted side effect of faults.
    pub fn remark(&self, kind: &'static str, text: &str) {
        self.note(text);
        *self.state().remarks.entry(kind).or_default() += 1;
    }

    /// Records a fault that is about to be injected; returns `false` if the schedule is over.
    pub fn fault(&self, kind: &'static str, text: &str) -> bool {
        let mut state = self.state();
        if state.over {
            return false;
        }
        *state.faults.entry(kind).or_default() += 1;
        let count = state.count();
        state.over = count >= self.limit;
        drop(state);
        self.changed.notify_all();
        self.note(&format!("{count:4}  {text}"));
        true
    }

    /// Ends the schedule.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Whether this share of the faults has been injected.
    pub fn is_past(&self, part: usize, of: usize) -> bool {
        self.state().count() * of >= self.limit * part
    }

    /// The wanted number of trackers.
    pub fn trackers(&self) -> usize {
        schedule::trackers(self.state().count(), self.limit)
    }

    /// Waits for the next fault or the end of the schedule.
    pub fn wait_for_change(&self) {
        let state = self.state();
        let before = state.count();
        let unchanged = |state: &mut State| !state.over && state.count() == before;
        drop(
            self.changed
                .wait_while(state, unchanged)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits for `time`, or until the schedule is over.
    pub fn pace(&self, time: Duration) {
        let not_over = |state: &mut State| !state.over;
        drop(
            self.changed
                .wait_timeout_while(self.state(), time, not_over)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Faults by kind, and their effects according to the trackers' logs.
    pub fn summary(&self) -> String {
        let state = self.state();
        let mut text = format!("{} faults:", state.count());
        for (kind, count) in state.faults.iter().chain(&state.remarks) {
            write!(text, " {count} {kind},").expect("a string takes it");
        }
        let logs = self.logs();
        for (what, message) in [
            ("restores", "\"restored\""),
            ("failed transactions", "transaction aborted"),
            ("memberships lost", "partitions lost: "),
        ] {
            let count = logs.matches(message).count();
            write!(text, " {count} {what},").expect("a string takes it");
        }
        text.trim_end_matches(',').to_owned()
    }

    /// All entries.
    pub fn history(&self) -> String {
        fs::read_to_string(self.folder.join("journal")).expect("the journal")
    }

    /// Fails the test on a violation; deletes the journal otherwise.
    pub fn close(self) {
        let violation = self.state().violation.join("\n");
        assert!(violation.is_empty(), "{violation}");
        fs::remove_dir_all(&self.folder).expect("the folder goes");
    }

    /// The concatenated logs of all trackers.
    fn logs(&self) -> String {
        let files = fs::read_dir(&self.folder).expect("the folder");
        let files = files.map(|file| file.expect("a file").path());
        let logs =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| String::from_utf8_lossy(&fs::read(path).expect("a log")).into_owned())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
