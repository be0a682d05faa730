//! A parser for common session events, at a third of the cost of serde.
//!
//! It accepts an object of known fields, each at most once, without attributes, whose strings
//! are ASCII without escapes. It returns `None` for everything else, valid or not, so that
//! serde decides.

use std::borrow::Cow;

use memchr::memchr;

use super::fields::Fields;

/// Parses `value` if it has the common form.
pub(super) fn parse(value: &[u8]) -> Option<Fields<'_>> {
    let value = trim_end(value);
    if !is_plain(value) {
        return None;
    }
    let mut scanner = Scanner(std::str::from_utf8(value).ok()?);
    let mut fields = Fields::default();
    scanner.expect(b'{')?;
    loop {
        scanner.skip_spaces();
        if scanner.skip("\"session_id\"") {
            set_once(&mut fields.session_id, scanner.value()?)?;
        } else if scanner.skip("\"user_id\"") {
            set_once(&mut fields.user_id, scanner.value()?)?;
        } else if scanner.skip("\"activity_timestamp\"") {
            set_once(&mut fields.activity_timestamp, scanner.value()?)?;
        } else if scanner.skip("\"event\"") {
            scanner.expect(b':')?;
            set_once(&mut fields.event, unquote(scanner.string()?))?;
        } else {
            return None;
        }
        if scanner.expect(b',').is_none() {
            scanner.expect(b'}')?;
            return scanner.0.is_empty().then_some(fields);
        }
    }
}

/// The unread input.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// Consumes spaces and then `byte`, which must be ASCII.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_spaces();
        (self.0.as_bytes().first() == Some(&byte)).then(|| self.0 = &self.0[1..])
    }

    /// Consumes `prefix` if the input starts with it; returns whether it does.
    fn skip(&mut self, prefix: &str) -> bool {
        let unread = self.0.strip_prefix(prefix);
        self.0 = unread.unwrap_or(self.0);
        unread.is_some()
    }

    /// Consumes a colon and a literal and returns the literal.
    fn value(&mut self) -> Option<&'a str> {
        self.expect(b':')?;
        self.literal()
    }

    /// Consumes a string without escapes or a number and returns the literal.
    fn literal(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        match self.0.as_bytes().first()? {
            b'"' => self.string(),
            _ => self.number(),
        }
    }

    /// Consumes a string without escapes and returns it with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.skip_spaces();
        let bytes = self.0.as_bytes().strip_prefix(b"\"")?;
        let length = memchr(b'"', bytes)?;
        Some(self.split(length + 2))
    }

    /// Consumes a number without leading zeros. An exponent fails at the next separator.
    fn number(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let digits = count_digits(&bytes[sign..]);
        if digits == 0 || digits > 1 && bytes[sign] == b'0' {
            return None;
        }
        let whole = sign + digits;
        if bytes.get(whole) != Some(&b'.') {
            return Some(self.split(whole));
        }
        let decimals = count_digits(&bytes[whole + 1..]);
        (decimals > 0).then(|| self.split(whole + 1 + decimals))
    }

    fn skip_spaces(&mut self) {
        while let Some(unread) = self.0.strip_prefix(' ') {
            self.0 = unread;
        }
    }

    fn split(&mut self, length: usize) -> &'a str {
        let (consumed, unread) = self.0.split_at(length);
        self.0 = unread;
        consumed
    }
}

/// Removes white space at the end: that of JSON (RFC 8259, section 2), not that of ASCII, which has
/// the form feed.
fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = value {
        value = rest;
    }
    value
}

/// Whether all bytes are ASCII that a JSON string can contain without an escape (RFC 8259, section 7),
/// or quotation marks. It looks at all of them, which the compiler vectorizes.
fn is_plain(value: &[u8]) -> bool {
    let is_plain = |byte: u8| (0x20..0x80).contains(&byte) & (byte != b'\\');
    value.iter().fold(true, |all, &byte| all & is_plain(byte))
}

fn count_digits(bytes: &[u8]) -> usize {
    let digits = bytes.iter();
    digits.take_while(|byte| byte.is_ascii_digit()).count()
}

fn unquote(literal: &str) -> Cow<'_, str> {
    Cow::Borrowed(&literal[1..literal.len() - 1])
}

/// Sets a field; `None` if it is already set, so that serde rejects the duplicate.
fn set_once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}
