//! Reads lines from a file or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// The longest line, in bytes. The remainder of a longer line is skipped.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// The maximum number of lines read ahead.
const READ_AHEAD: usize = 1_000;

/// Reads lines on a separate thread, so that a slow input blocks neither Kafka polls nor
/// Ctrl-C.
#[derive(Debug)]
pub struct LineReader {
    lines: Receiver<io::Result<InputLine>>,
}

/// A line without its terminator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLine {
    /// Counted from 1.
    pub number: u64,
    /// At most [`MAX_LINE_BYTES`] bytes.
    pub bytes: Vec<u8>,
    /// Whether the line was longer than [`MAX_LINE_BYTES`].
    pub truncated: bool,
}

/// The result of [`LineReader::next`].
#[derive(Debug)]
pub enum NextLine {
    /// A line.
    Line(InputLine),
    /// No line within the timeout.
    Pending,
    /// The end of the input.
    End,
}

impl InputLine {
    /// Whether the line has only whitespace.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

impl LineReader {
    /// Opens the file, or standard input for `-`.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let input: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(stdin())
        } else {
            Box::new(File::open(path)?)
        };
        let (sender, lines) = sync_channel(READ_AHEAD);
        let thread = thread::Builder::new().name("lines".into());
        #[expect(clippy::disallowed_methods, reason = "it may wait for input for ever")]
        thread.spawn(move || read(BufReader::new(input), &sender))?;
        Ok(Self { lines })
    }

    /// Waits up to `timeout` for the next line.
    ///
    /// # Errors
    /// If reading the input fails.
    pub fn next(&self, timeout: Duration) -> io::Result<NextLine> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => Ok(NextLine::Line(line?)),
            Err(RecvTimeoutError::Timeout) => Ok(NextLine::Pending),
            Err(RecvTimeoutError::Disconnected) => Ok(NextLine::End),
        }
    }
}

fn read(mut input: impl BufRead, lines: &SyncSender<io::Result<InputLine>>) {
    for number in 1.. {
        let line = read_line(&mut input, number).transpose();
        let Some(line) = line else { return };
        let failed = line.is_err();
        if lines.send(line).is_err() || failed {
            return;
        }
    }
}

fn read_line(input: &mut impl BufRead, number: u64) -> io::Result<Option<InputLine>> {
    let mut bytes = Vec::new();
    if input.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let terminated = bytes.pop_if(|byte| *byte == b'\n').is_some();
    let truncated =
        !terminated && bytes.len() as u64 == MAX_LINE_BYTES && input.skip_until(b'\n')? > 0;
    Ok(Some(InputLine {
        number,
        bytes,
        truncated,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, Vec<u8>, bool)> {
        let (sender, lines) = sync_channel(READ_AHEAD);
        read(text, &sender);
        drop(sender);
        let lines = lines.into_iter().map(Result::unwrap);
        lines
            .map(|line| (line.number, line.bytes, line.truncated))
            .collect()
    }

    #[test]
    fn lines_are_read_unchanged_without_the_newline() {
        let expected = [(1, "a\r", false), (2, "", false), (3, "b", false)];
        let expected = expected.map(|(number, text, truncated)| (number, text.into(), truncated));
        assert_eq!(all(b"a\r\n\nb"), expected);
        assert_eq!(all(b"a\r\n\nb\n"), expected, "a final newline adds no line");
        assert_eq!(all(b""), []);
    }

    #[test]
    fn memory_is_bounded_for_an_endless_line() {
        let limit = usize::try_from(MAX_LINE_BYTES).unwrap();
        let mut text = vec![b'x'; limit + 5];
        text.extend_from_slice(b"\nshort\n");
        let lines = all(&text);
        assert_eq!((lines[0].1.len(), lines[0].2), (limit, true));
        assert_eq!(lines[1], (2, b"short".to_vec(), false));
    }
}
