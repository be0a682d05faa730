//! Reads of files and streams with a limit on their size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Limit on a file of policies or actions, in bytes.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// Limit on a file with a secret, in bytes.
pub const MAX_SECRET_BYTES: u64 = 1 << 20;

/// Reads a file of at most `max` bytes. Devices and pipes, whose size is unknown, are read up to
/// the limit only.
///
/// # Errors
/// The error of the read; [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read(File::open(path)?, max)
}

/// Reads a UTF-8 file of at most `max` bytes.
///
/// # Errors
/// As [`read_file`]; [`io::ErrorKind::InvalidData`] for anything but UTF-8.
pub fn read_text_file(path: &Path, max: u64) -> io::Result<String> {
    read_text(File::open(path)?, max)
}

/// Reads `input` to its end as UTF-8, at most `max` bytes.
///
/// # Errors
/// As [`read_text_file`].
pub fn read_text(input: impl Read, max: u64) -> io::Result<String> {
    String::from_utf8(read(input, max)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

fn read(input: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let problem = format!("it has more than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_limit() {
        assert_eq!(read_text(&b"four"[..], 4).unwrap(), "four");
        let error = read_text(io::repeat(b'x'), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has more than 4 bytes");
    }

    #[test]
    fn bytes_other_than_utf_8_are_refused() {
        let error = read_text(&b"\xff"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
