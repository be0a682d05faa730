//! Running programs, mainly `sundown`: their output line by line, signals, exit status.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::wait::{Deadline, eventually};

/// The binary under test.
pub const SUNDOWN: &str = env!("CARGO_BIN_EXE_sundown");

/// A program about to be started.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    prints_warnings: bool,
}

impl Launch {
    /// The binary under test.
    pub fn sundown() -> Self {
        Self::program(SUNDOWN)
    }

    /// Any program, without any `SUNDOWN_*` setting of the environment: it may be one that
    /// becomes the binary under test.
    pub fn program(path: &str) -> Self {
        let mut launch = Self {
            command: Command::new(path),
            prints_warnings: false,
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SUNDOWN_") {
                launch.command.env_remove(name);
            }
        }
        launch
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Prints warnings and errors of its log at once.
    pub fn print_warnings(mut self) -> Self {
        self.prints_warnings = true;
        self
    }

    pub fn start(mut self) -> Process {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = self.command.get_program().to_string_lossy().into_owned();
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = Arc::new(Output {
            prints_warnings: self.prints_warnings,
            ..Output::default()
        });
        output.follow(
            Stream::Stdout,
            child.stdout.take().expect("stdout is piped"),
        );
        output.follow(
            Stream::Stderr,
            child.stderr.take().expect("stderr is piped"),
        );
        Process {
            name,
            child,
            output,
        }
    }
}

/// A running program. Dropping it ends it with SIGKILL, and prints its output if the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A line that a program wrote, without its line end.
#[derive(Clone, Debug)]
pub struct Line {
    pub stream: Stream,
    pub text: String,
}

impl Process {
    /// Waits for a line that fits, and returns it. Each line since the start is asked about once,
    /// so a closure that counts can wait for the second or third.
    ///
    /// # Panics
    /// When there is none within `timeout` or before the program's output ends.
    pub fn wait_for_line(&self, timeout: Duration, mut fits: impl FnMut(&Line) -> bool) -> Line {
        let deadline = Deadline::after(timeout);
        let mut seen = 0;
        let mut state = self.output.lock();
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|line| fits(line)) {
                return line.clone();
            }
            seen = state.lines.len();
            assert!(
                !state.at_end(),
                "{} ended without the awaited line",
                self.name
            );
            let Some(left) = deadline.left() else {
                panic!(
                    "{} did not write the awaited line within {timeout:?}",
                    self.name
                );
            };
            state = self.output.wait_for_more(state, left);
        }
    }

    /// Waits until this many lines contain `text`, those that were there before included.
    ///
    /// # Panics
    /// Like [`Self::wait_for_line`].
    pub fn wait_for_lines(&self, timeout: Duration, count: u64, text: &str) {
        let mut missing = count;
        self.wait_for_line(timeout, |line| {
            missing -= u64::from(line.text.contains(text));
            missing == 0
        });
    }

    /// The lines written so far, without the first `skip`.
    pub fn lines_after(&self, skip: usize) -> Vec<Line> {
        self.output.lock().lines[skip..].to_vec()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the program has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// Everything written so far to one stream, or to its end once [`Process::wait`] has returned.
    pub fn text(&self, stream: Stream) -> String {
        let mut text = String::new();
        for line in self
            .output
            .lock()
            .lines
            .iter()
            .filter(|line| line.stream == stream)
        {
            writeln!(text, "{}", line.text).expect("a string takes it");
        }
        text
    }

    pub fn sigkill(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn sigterm(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn sigint(&mut self) {
        self.signal(Signal::SIGINT);
    }

    pub fn sigstop(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn sigcont(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until the program has ended and all of its output is here.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = eventually(timeout, &what, || self.ended());
        self.output.wait_for_end(timeout);
        status
    }

    /// Sends SIGTERM and waits for the exit, which must be a success.
    pub fn stop(mut self, timeout: Duration) {
        self.sigterm();
        let status = self.wait(timeout);
        assert!(status.success(), "{status}: {}", self.text(Stream::Stderr));
    }

    fn signal(&mut self, signal: Signal) {
        // Not yet waited for, so the id cannot have become another process's.
        assert_eq!(self.ended(), None, "{} has ended already", self.name);
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        signal::kill(pid, signal).expect("the signal is sent");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.output.wait_for_end(Duration::from_secs(1));
            for line in &self.output.lock().lines {
                eprintln!("{} {}: {}", self.name, self.child.id(), line.text);
            }
        }
    }
}

/// What a program has written; threads of their own read it, so that it never blocks in writing.
#[derive(Debug, Default)]
struct Output {
    prints_warnings: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// Of the two streams.
    ended: u8,
}

impl State {
    fn at_end(&self) -> bool {
        self.ended == 2
    }
}

impl Output {
    fn follow(self: &Arc<Self>, stream: Stream, source: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                let is_warning = text.contains("\"WARN\"") || text.contains("\"ERROR\"");
                if output.prints_warnings && is_warning {
                    eprintln!("{text}");
                }
                output.update(|state| state.lines.push(Line { stream, text }));
            }
            output.update(|state| state.ended += 1);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_for_more<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
    ) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, timeout)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Returns at the timeout too: a grandchild may hold the streams open.
    fn wait_for_end(&self, timeout: Duration) {
        let state = self.lock();
        drop(
            self.changed
                .wait_timeout_while(state, timeout, |state| !state.at_end()),
        );
    }

    /// A test that fails while it looks at the lines leaves them fit to be printed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
