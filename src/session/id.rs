//! Session and user ids, packed.
//!
//! A tracker holds millions of ids, and nearly all of them are UUIDs, hexadecimal
//! tokens, short names or numbers. [`Packed`] keeps those inside 24 bytes without
//! an allocation of their own; anything longer goes to the heap, byte for byte.

use std::fmt;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// The longest text that is kept inside a [`Packed`] as it is, in bytes.
const INLINE: usize = 22;

/// An immutable text in 24 bytes.
///
/// Every text has exactly one representation, so equality and hashing of the
/// packed forms are equality and hashing of the texts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Packed(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// 8-4-4-4-12 lower-case hexadecimal digits (RFC 9562, section 4).
    Uuid([u8; 16]),
    /// 32 lower-case hexadecimal digits.
    Hex([u8; 16]),
    /// Up to [`INLINE`] bytes; the rest is zero.
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Heap(Box<str>),
}

const _: () = assert!(size_of::<Packed>() == 24);

/// What names a session: unique among the live sessions of one partition.
pub type SessionId = Packed;

/// Room to unpack a [`Packed`] into, on the stack.
pub type TextBuffer = [u8; 36];

impl Packed {
    /// Packs `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        Self(match bytes.len() {
            len @ 0..=INLINE => {
                let mut inline = [0; INLINE];
                inline[..len].copy_from_slice(bytes);
                #[expect(clippy::cast_possible_truncation, reason = "at most INLINE")]
                let len = len as u8;
                Repr::Inline { len, bytes: inline }
            }
            32 => unhex(bytes).map_or_else(|| Repr::Heap(text.into()), Repr::Hex),
            36 => unhyphen(bytes)
                .and_then(|digits| unhex(&digits))
                .map_or_else(|| Repr::Heap(text.into()), Repr::Uuid),
            _ => Repr::Heap(text.into()),
        })
    }

    /// The text, unpacked into `buffer` where it is not held as it is.
    #[must_use]
    pub fn text<'a>(&'a self, buffer: &'a mut TextBuffer) -> &'a str {
        let bytes = match &self.0 {
            Repr::Heap(text) => return text,
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Hex(raw) => {
                hex_digits(raw, buffer, &[]);
                &buffer[..32]
            }
            Repr::Uuid(raw) => {
                hex_digits(raw, buffer, &[4, 6, 8, 10]);
                &buffer[..]
            }
        };
        // Never the fallback: `bytes` is a text that was packed, or digits.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Bytes on the heap that belong to this text alone.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Heap(text) => text.len(),
            Repr::Uuid(_) | Repr::Hex(_) | Repr::Inline { .. } => 0,
        }
    }

    /// A keyed hash (SipHash-1-3): whoever chooses ids cannot choose collisions
    /// without knowing the key.
    #[must_use]
    pub(super) fn keyed_hash(&self, key: (u64, u64)) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
        match &self.0 {
            Repr::Uuid(raw) | Repr::Hex(raw) => hasher.write(raw),
            Repr::Inline { len, bytes } => hasher.write(&bytes[..usize::from(*len)]),
            Repr::Heap(text) => hasher.write(text.as_bytes()),
        }
        hasher.finish()
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; 36]))
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text(&mut [0; 36]))
    }
}

impl From<&str> for Packed {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Who a session belongs to. Applications write user ids as JSON numbers or as
/// strings; which of the two it was is kept, so that the id goes out as it came in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId {
    /// The string's content, or the number's literal, digit for digit.
    pub text: Packed,
    /// Whether it was a JSON number.
    pub number: bool,
}

/// A borrowed [`UserId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRef<'a> {
    /// The string's content, or the number's literal, digit for digit.
    pub text: &'a str,
    /// Whether it was a JSON number.
    pub number: bool,
}

impl UserRef<'_> {
    /// Packs the id.
    #[must_use]
    pub fn to_owned(self) -> UserId {
        UserId {
            text: Packed::new(self.text),
            number: self.number,
        }
    }
}

/// The value of a lower-case hexadecimal digit; above 15 for anything else.
const NIBBLE: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

fn unhex(digits: &[u8]) -> Option<[u8; 16]> {
    let mut raw = [0; 16];
    let mut invalid = 0;
    for (byte, pair) in raw.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (NIBBLE[usize::from(pair[0])], NIBBLE[usize::from(pair[1])]);
        invalid |= high | low;
        *byte = high << 4 | (low & 0x0f);
    }
    (invalid < 16).then_some(raw)
}

/// The 32 digits of a hyphenated UUID, not yet checked to be digits.
fn unhyphen(text: &[u8]) -> Option<[u8; 32]> {
    let hyphens = [8, 13, 18, 23];
    if hyphens.iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    Some(digits)
}

/// Writes the digits of `raw`, with a hyphen before each byte that `hyphens` names.
fn hex_digits(raw: &[u8; 16], out: &mut TextBuffer, hyphens: &[usize]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut at = 0;
    for (index, byte) in raw.iter().enumerate() {
        if hyphens.contains(&index) {
            out[at] = b'-';
            at += 1;
        }
        out[at] = DIGITS[usize::from(byte >> 4)];
        out[at + 1] = DIGITS[usize::from(byte & 0x0f)];
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_comes_out_as_it_went_in(text in ".{0,40}") {
            prop_assert_eq!(Packed::new(&text).to_string(), text);
        }

        #[test]
        fn texts_that_look_like_ids_come_out_as_they_went_in(
            text in "[0-9a-fA-F]{8}(-[0-9a-fg]{4}){3}-[0-9a-f]{12}|[0-9a-fA-F]{32}|[0-9a-f-]{36}"
        ) {
            prop_assert_eq!(Packed::new(&text).to_string(), text);
        }
    }

    #[test]
    fn uuids_hex_tokens_and_short_texts_need_no_heap() {
        for text in [
            "",
            "abc123",
            "0123456789abcdef012345",
            "6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50",
            "6f1f2a300f5e4d2c9a3e7b1c2d3e4f50",
        ] {
            assert_eq!(Packed::new(text).heap_bytes(), 0, "{text}");
        }
        assert_eq!(
            Packed::new("6F1F2A30-0F5E-4D2C-9A3E-7B1C2D3E4F50").heap_bytes(),
            36,
            "upper case would come out as lower case if it were packed"
        );
    }

    #[test]
    fn the_hash_depends_on_the_key() {
        let id = Packed::new("abc");
        assert_ne!(id.keyed_hash((1, 2)), id.keyed_hash((1, 3)));
    }
}
