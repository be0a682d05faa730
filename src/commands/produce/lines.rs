//! Events from a file or from standard input, one JSON object a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// The longest line, in bytes; the rest of a longer one is skipped.
const MAX_LINE: u64 = 16 << 20;
/// How many lines may be read ahead.
const READ_AHEAD: usize = 1_000;

/// Lines that a thread of its own reads, so that neither Kafka nor Ctrl-C has to wait for
/// whoever writes them.
#[derive(Debug)]
pub struct Lines {
    lines: Receiver<io::Result<Line>>,
}

/// A line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which, from 1.
    pub number: u64,
    /// What it says, at most [`MAX_LINE`] bytes of it.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

/// What there is to be read now.
#[derive(Debug)]
pub enum Next {
    /// A line.
    Line(Line),
    /// Nothing yet.
    Later,
    /// Nothing any more.
    End,
}

impl Line {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

impl Lines {
    /// Reads the file, or standard input for `-`.
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
        thread::Builder::new()
            .name("lines".into())
            .spawn(move || read(BufReader::new(input), &sender))?;
        Ok(Self { lines })
    }

    /// The next line, if it is there within `patience`.
    ///
    /// # Errors
    /// If the input cannot be read any further.
    pub fn next(&self, patience: Duration) -> io::Result<Next> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Next::Line(line?)),
            Err(RecvTimeoutError::Timeout) => Ok(Next::Later),
            Err(RecvTimeoutError::Disconnected) => Ok(Next::End),
        }
    }
}

fn read(mut input: impl BufRead, lines: &SyncSender<io::Result<Line>>) {
    for number in 1.. {
        let line = read_line(&mut input, number).transpose();
        // No line, or nobody who wants it.
        let Some(line) = line else { return };
        let failed = line.is_err();
        if lines.send(line).is_err() || failed {
            return;
        }
    }
}

fn read_line(input: &mut impl BufRead, number: u64) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    if input.take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
    let cut = !ended && bytes.len() as u64 == MAX_LINE && input.skip_until(b'\n')? > 0;
    Ok(Some(Line { number, bytes, cut }))
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
            .map(|line| (line.number, line.bytes, line.cut))
            .collect()
    }

    #[test]
    fn lines_come_as_they_are_without_their_end() {
        let expected = [(1, "a\r", false), (2, "", false), (3, "b", false)];
        let expected = expected.map(|(number, text, cut)| (number, text.into(), cut));
        assert_eq!(all(b"a\r\n\nb"), expected);
        assert_eq!(all(b"a\r\n\nb\n"), expected, "the last end makes no line");
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let limit = usize::try_from(MAX_LINE).unwrap();
        let mut text = vec![b'x'; limit + 5];
        text.extend_from_slice(b"\nshort\n");
        let lines = all(&text);
        assert_eq!((lines[0].1.len(), lines[0].2), (limit, true));
        assert_eq!(lines[1], (2, b"short".to_vec(), false));
    }
}
