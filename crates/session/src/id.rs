//! Session and user ids, packed.
//!
//! A tracker holds millions of ids, and nearly all of them are UUIDs, hexadecimal
//! tokens, short names or numbers. [`Packed`] stores those in 24 bytes without
//! an allocation; longer text goes to the heap, byte for byte.

use alloc::boxed::Box;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// The longest text that a [`Packed`] stores inline, in bytes.
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
    Uuid(Words),
    /// 32 lower-case hexadecimal digits.
    Hex(Words),
    /// Up to [`INLINE`] bytes; the rest is zero.
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Heap(Box<str>),
}

const _: () = assert!(size_of::<Packed>() == 24);

/// The 16 bytes that 32 hexadecimal digits encode, little-endian.
type Words = [u64; 2];

/// The id of a session, unique among the live sessions of one partition.
pub type SessionId = Packed;

/// A stack buffer for the text of a [`Packed`].
pub type TextBuffer = [u8; 36];

impl Packed {
    /// Packs `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let packed = match bytes.len() {
            len @ 0..=INLINE => Some(inline(bytes, len)),
            32 => bytes.try_into().ok().and_then(unhex).map(Repr::Hex),
            36 => bytes.try_into().ok().and_then(unhyphen).map(Repr::Uuid),
            _ => None,
        };
        Self(packed.unwrap_or_else(|| Repr::Heap(text.into())))
    }

    /// Returns the text, unpacked into `buffer` if it is not stored as text.
    #[must_use]
    pub fn text<'a>(&'a self, buffer: &'a mut TextBuffer) -> &'a str {
        let bytes = match &self.0 {
            Repr::Heap(text) => return text,
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Hex(words) => {
                hex_digits(*words, buffer, &[]);
                &buffer[..32]
            }
            Repr::Uuid(words) => {
                hex_digits(*words, buffer, &[4, 6, 8, 10]);
                &buffer[..]
            }
        };
        // Never the fallback: `bytes` is packed text or digits.
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Compares the texts.
    pub(super) fn cmp_text(&self, other: &Self) -> Ordering {
        let (mut one, mut two) = ([0; 36], [0; 36]);
        self.text(&mut one).cmp(other.text(&mut two))
    }

    /// Returns how many heap bytes the text owns.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Heap(text) => text.len(),
            Repr::Uuid(_) | Repr::Hex(_) | Repr::Inline { .. } => 0,
        }
    }

    /// Hashes the text with a key (SipHash-1-3): without the key, an attacker cannot choose ids that
    /// collide.
    #[must_use]
    pub(super) fn keyed_hash(&self, key: (u64, u64)) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
        match &self.0 {
            Repr::Uuid([first, second]) | Repr::Hex([first, second]) => {
                hasher.write_u64(*first);
                hasher.write_u64(*second);
            }
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

/// A user id. Applications write it as a JSON number or a string; outputs keep the form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId {
    /// The string's content, or the number's literal, digit for digit.
    pub text: Packed,
    /// Whether the id was a JSON number.
    pub number: bool,
}

/// A borrowed [`UserId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRef<'a> {
    /// The string's content, or the number's literal, digit for digit.
    pub text: &'a str,
    /// Whether the id was a JSON number.
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

fn inline(text: &[u8], len: usize) -> Repr {
    let mut bytes = [0; INLINE];
    bytes[..len].copy_from_slice(text);
    #[expect(clippy::cast_possible_truncation, reason = "at most INLINE")]
    let len = len as u8;
    Repr::Inline { len, bytes }
}

/// Decodes 8-4-4-4-12 lower-case hexadecimal digits.
fn unhyphen(text: &[u8; 36]) -> Option<Words> {
    let word = |first, second| four(text, first) | four(text, second) << 32;
    let words = unhex_words([word(0, 4), word(9, 14), word(19, 24), word(28, 32)])?;
    let hyphens = [text[8], text[13], text[18], text[23]];
    (hyphens == [b'-'; 4]).then_some(words)
}

/// Decodes 32 lower-case hexadecimal digits.
fn unhex(text: &[u8; 32]) -> Option<Words> {
    unhex_words([0, 8, 16, 24].map(|at| four(text, at) | four(text, at + 4) << 32))
}

fn four(text: &[u8], at: usize) -> u64 {
    let mut digits = [0; 4];
    digits.copy_from_slice(&text[at..at + 4]);
    u64::from(u32::from_le_bytes(digits))
}

/// Decodes eight hexadecimal digits in each of four words, the first digit lowest.
///
/// Every event has an id to pack, so this takes a word at a time, without branches. The
/// top bit of each byte is a range check: with `0x80 - first` added it is set from `first` on.
fn unhex_words(words: [u64; 4]) -> Option<Words> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let mut valid = TOPS;
    let [first, second, third, fourth] = words.map(|word| {
        let from = |first: u8| (word & !TOPS) + ONES * u64::from(0x80 - first);
        let decimal = from(b'0') & !from(b'9' + 1);
        let letter = from(b'a') & !from(b'f' + 1) & TOPS;
        valid &= (decimal | letter) & !word;
        let nibbles = (word & (0x0f * ONES)) + (letter >> 7) * 9;
        let bytes = (nibbles << 4 | nibbles >> 8) & 0x00ff_00ff_00ff_00ff;
        let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
        (pairs | pairs >> 16) & 0xffff_ffff
    });
    (valid == TOPS).then_some([first | second << 32, third | fourth << 32])
}

/// Writes the digits of `words`, with a hyphen before each byte that `hyphens` names.
fn hex_digits(words: Words, out: &mut TextBuffer, hyphens: &[usize]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut at = 0;
    for (index, byte) in words.into_iter().flat_map(u64::to_le_bytes).enumerate() {
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
    use alloc::string::ToString;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trips(text in ".{0,40}") {
            prop_assert_eq!(Packed::new(&text).to_string(), text);
        }

        #[test]
        fn text_that_looks_like_an_id_round_trips(
            text in "[0-9a-fA-F]{8}(-[0-9a-fg]{4}){3}-[0-9a-f]{12}|[0-9a-fA-F]{32}|[0-9a-f-]{36}"
        ) {
            prop_assert_eq!(Packed::new(&text).to_string(), text);
        }
    }

    #[test]
    fn uuids_hex_tokens_and_short_text_need_no_heap() {
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
