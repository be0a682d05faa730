//! Session events in the form that nearly all of them have, read at a third of the cost
//! of a general parser.
//!
//! That form is an object of known fields, each at most once, without attributes, its
//! strings plain ASCII without escapes. Everything else, right or wrong, is left to
//! serde: nothing is refused here.

use std::borrow::Cow;

use super::fields::Fields;

/// The fields of `value`, if it has the usual form.
pub(super) fn read(value: &[u8]) -> Option<Fields<'_>> {
    let mut rest = Rest(std::str::from_utf8(value).ok()?);
    let mut fields = Fields::default();
    rest.take(b'{')?;
    loop {
        let name = rest.string()?;
        rest.take(b':')?;
        match name {
            "\"session_id\"" => once(&mut fields.session_id, text(rest.string()?))?,
            "\"user_id\"" => once(&mut fields.user_id, rest.literal()?)?,
            "\"activity_timestamp\"" => once(&mut fields.activity_timestamp, rest.literal()?)?,
            "\"event\"" => once(&mut fields.event, text(rest.string()?))?,
            _ => return None,
        }
        if rest.take(b',').is_none() {
            rest.take(b'}')?;
            return rest.0.trim_ascii().is_empty().then_some(fields);
        }
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Takes `byte`, which is ASCII, and the spaces before it.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_spaces();
        (self.0.as_bytes().first() == Some(&byte)).then(|| self.0 = &self.0[1..])
    }

    /// Takes a string without escapes or a whole number, as it is written.
    fn literal(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        match self.0.as_bytes().first()? {
            b'"' => self.string(),
            _ => self.number(),
        }
    }

    /// Takes a string without escapes, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        let bytes = self.0.as_bytes().strip_prefix(b"\"")?;
        let length = bytes.iter().position(|&byte| !PLAIN[usize::from(byte)])?;
        (bytes[length] == b'"').then(|| self.split(length + 2))
    }

    /// Takes a whole number without leading zeros. What follows has to end it: a fraction
    /// does not.
    fn number(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let digits = bytes[sign..].iter();
        let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let right = digits == 1 || digits > 1 && bytes[sign] != b'0';
        right.then(|| self.split(sign + digits))
    }

    fn skip_spaces(&mut self) {
        while let Some(rest) = self.0.strip_prefix(' ') {
            self.0 = rest;
        }
    }

    fn split(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

/// Bytes that stand for themselves in a JSON string (RFC 8259, section 7), as far as they
/// are ASCII.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

fn text(literal: &str) -> Cow<'_, str> {
    Cow::Borrowed(&literal[1..literal.len() - 1])
}

/// A field that comes twice is for serde to refuse.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}
