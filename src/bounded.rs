//! Reading what others have written, no more of it than is sensible.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes that a file of policies or actions may have.
pub const MAX_DOCUMENTS: u64 = 4 << 20;
/// The most bytes that a file with a secret may have.
pub const MAX_SECRET: u64 = 1 << 20;

/// The content of a file of at most `most` bytes. Devices and pipes, which do not tell their
/// size, are read no farther than that.
///
/// # Errors
/// What keeps it from being read; [`io::ErrorKind::FileTooLarge`] if it has more.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read(File::open(path)?, most)
}

/// The same of a text in UTF-8.
///
/// # Errors
/// As [`read_file`]; [`io::ErrorKind::InvalidData`] if it is none.
pub fn read_text_file(path: &Path, most: u64) -> io::Result<String> {
    read_text(File::open(path)?, most)
}

/// The text in UTF-8 that comes from `input`.
///
/// # Errors
/// As [`read_text_file`].
pub fn read_text(input: impl Read, most: u64) -> io::Result<String> {
    String::from_utf8(read(input, most)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

fn read(input: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let problem = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_bound() {
        assert_eq!(read_text(&b"four"[..], 4).unwrap(), "four");
        let error = read_text(io::repeat(b'x'), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has more than 4 bytes");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let error = read_text(&b"\xff"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
