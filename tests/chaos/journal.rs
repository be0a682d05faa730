//! What has happened, and when; how far the schedule is.

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

/// What has happened in one run.
pub struct Journal {
    clock: Clock,
    folder: PathBuf,
    /// How many faults there are to be.
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    file: File,
    faults: BTreeMap<&'static str, usize>,
    /// There are to be no more.
    over: bool,
    /// What may happen amid faults, and is worth a count.
    remarks: BTreeMap<&'static str, usize>,
    /// What must not happen, whatever goes wrong around it.
    trouble: Vec<String>,
}

impl State {
    fn count(&self) -> usize {
        self.faults.values().sum()
    }
}

impl Journal {
    /// Keeps everything that there is to know about the run in a new folder of that name.
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
                trouble: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Where the logs of the trackers are.
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

    /// Notes what must not happen; the run fails in the end.
    pub fn trouble(&self, text: &str) {
        self.note(text);
        self.state().trouble.push(text.to_owned());
    }

    /// Notes and counts what may happen amid faults, but not often.
    pub fn remark(&self, kind: &'static str, text: &str) {
        self.note(text);
        *self.state().remarks.entry(kind).or_default() += 1;
    }

    /// Counts and notes a fault that is about to be injected, unless there are to be no more.
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

    /// No more faults.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// How many trackers there should be now.
    pub fn trackers(&self) -> usize {
        schedule::trackers(self.state().count(), self.limit)
    }

    /// Waits for another fault, or the end of them.
    pub fn await_change(&self) {
        let state = self.state();
        let before = state.count();
        let unchanged = |state: &mut State| !state.over && state.count() == before;
        drop(
            self.changed
                .wait_while(state, unchanged)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until that much time has passed, or there are to be no more faults.
    pub fn pace(&self, time: Duration) {
        let going_on = |state: &mut State| !state.over;
        drop(
            self.changed
                .wait_timeout_while(self.state(), time, going_on)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// How many faults of which kind there were, and what the trackers say came of it.
    pub fn summary(&self) -> String {
        let state = self.state();
        let mut text = format!("{} faults:", state.count());
        for (kind, count) in state.faults.iter().chain(&state.remarks) {
            write!(text, " {count} {kind},").expect("a string takes it");
        }
        let logs = self.logs();
        for (what, message) in [
            ("restores", "\"restored\""),
            ("failed transactions", "came to nothing"),
            ("memberships lost", "\"lost: "),
        ] {
            let count = logs.matches(message).count();
            write!(text, " {count} {what},").expect("a string takes it");
        }
        text.trim_end_matches(',').to_owned()
    }

    /// The whole story.
    pub fn story(&self) -> String {
        fs::read_to_string(self.folder.join("journal")).expect("the journal")
    }

    /// Fails the test if anything has happened that must not, and forgets all of it otherwise.
    pub fn close(self) {
        let trouble = self.state().trouble.join("\n");
        assert!(trouble.is_empty(), "{trouble}");
        fs::remove_dir_all(&self.folder).expect("the folder goes");
    }

    /// All that trackers have logged.
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
