//! A session's state as the checkpoint topic holds it.
//!
//! The record's key is the session id; this is its value. Layout of version 1, all
//! integers as zigzag LEB128 variable-length integers:
//!
//! | field | |
//! |---|---|
//! | version | one byte, 1 |
//! | flags | one byte: 1 = the user id is a number, 2 = a warning has been written |
//! | started_at | milliseconds since the epoch |
//! | last_activity | milliseconds after started_at |
//! | warned_of | milliseconds after started_at; only if a warning has been written |
//! | start_offset | |
//! | user id | length, UTF-8 |
//! | attributes | count, then length and UTF-8 of each name and value |
//!
//! A reader must stop at a version above its own: skipping the record would lose a session.

use alloc::vec::Vec;

use super::attributes::{Attributes, AttributesTooLarge};
use super::id::{Packed, SessionId, UserId};
use super::time::Timestamp;

/// The version that [`Checkpoint::encode`] writes.
pub const VERSION: u8 = 1;

const NUMBER: u8 = 1;
const WARNED: u8 = 2;

/// A session's state at some offset of its partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The session id, which is the record's key.
    pub session: SessionId,
    /// The user of the session.
    pub user: UserId,
    /// The time of the first event, or of the last login.
    pub started_at: Timestamp,
    /// The latest event time seen.
    pub last_activity: Timestamp,
    /// The offset of the record that started the session.
    pub start_offset: i64,
    /// The latest deadline for which a warning has been written.
    pub warned_of: Option<Timestamp>,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
}

/// A checkpoint record cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A later release wrote the record.
    #[error(
        "checkpoint record has version {found}, this release reads up to {VERSION}: \
         run the release that wrote it, or a later one"
    )]
    NewerVersion {
        /// The record's version.
        found: u8,
    },
    /// The record is truncated or not a checkpoint record.
    #[error("checkpoint record is damaged: {0}")]
    Damaged(&'static str),
    /// The attributes exceed their bound.
    #[error("checkpoint record is damaged: {0}")]
    Attributes(#[from] AttributesTooLarge),
}

impl Checkpoint {
    /// Appends the record's value to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(VERSION);
        out.push(flag(self.user.number, NUMBER) | flag(self.warned_of.is_some(), WARNED));
        let started = self.started_at.as_millis();
        put_integer(out, started);
        put_integer(out, self.last_activity.as_millis().wrapping_sub(started));
        if let Some(warned_of) = self.warned_of {
            put_integer(out, warned_of.as_millis().wrapping_sub(started));
        }
        put_integer(out, self.start_offset);
        put_text(out, self.user.text.text(&mut [0; 36]));
        let attributes = self.attributes.iter().flat_map(Attributes::iter);
        put_length(
            out,
            self.attributes.as_ref().map_or(0, |all| all.iter().len()),
        );
        for (name, value) in attributes {
            put_text(out, name);
            put_text(out, value);
        }
    }

    /// Reads the record of `session` from its value.
    ///
    /// # Errors
    /// [`CheckpointError`] if the record is of a newer version or damaged.
    pub fn decode(session: SessionId, value: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader(value);
        match reader.byte()? {
            VERSION => {}
            0 => return Err(CheckpointError::Damaged("version 0")),
            found => return Err(CheckpointError::NewerVersion { found }),
        }
        let flags = reader.byte()?;
        let started = reader.integer()?;
        let last_activity = reader.time_after(started)?;
        let warned_of = (flags & WARNED != 0).then(|| reader.time_after(started));
        let warned_of = warned_of.transpose()?;
        let start_offset = reader.integer()?;
        let user = UserId {
            text: Packed::new(reader.text()?),
            number: flags & NUMBER != 0,
        };
        let attributes = reader.attributes()?;
        if !reader.0.is_empty() {
            return Err(CheckpointError::Damaged("trailing bytes"));
        }
        Ok(Self {
            session,
            user,
            started_at: Timestamp::from_millis(started),
            last_activity,
            start_offset,
            warned_of,
            attributes,
        })
    }
}

fn put_integer(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_integer(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, CheckpointError> {
        let (&first, rest) = self
            .0
            .split_first()
            .ok_or(CheckpointError::Damaged("truncated"))?;
        self.0 = rest;
        Ok(first)
    }

    fn integer(&mut self) -> Result<i64, CheckpointError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let zigzag = (value >> 1).cast_signed();
                return Ok(zigzag ^ -((value & 1).cast_signed()));
            }
        }
        Err(CheckpointError::Damaged("an integer of more than 64 bits"))
    }

    fn time_after(&mut self, start: i64) -> Result<Timestamp, CheckpointError> {
        let millis = start.wrapping_add(self.integer()?);
        Ok(Timestamp::from_millis(millis))
    }

    fn length(&mut self) -> Result<usize, CheckpointError> {
        usize::try_from(self.integer()?).map_err(|_| CheckpointError::Damaged("a negative length"))
    }

    fn text(&mut self) -> Result<&'a str, CheckpointError> {
        let length = self.length()?;
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(CheckpointError::Damaged("truncated"))?;
        self.0 = rest;
        core::str::from_utf8(text).map_err(|_| CheckpointError::Damaged("a text that is not UTF-8"))
    }

    fn attributes(&mut self) -> Result<Option<Attributes>, CheckpointError> {
        let count = self.length()?;
        if count == 0 {
            return Ok(None);
        }
        // Not reserved up front: a damaged count must not allocate.
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Ok(Some(Attributes::new(pairs)?))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use proptest::prelude::*;

    fn checkpoints() -> impl Strategy<Value = Checkpoint> {
        let attributes = proptest::collection::btree_map("[a-z]{1,8}", ".{0,12}", 0..4);
        (
            (".{0,40}", ".{0,40}", any::<bool>()),
            (
                any::<i64>(),
                any::<i64>(),
                any::<i64>(),
                any::<Option<i64>>(),
            ),
            attributes,
        )
            .prop_map(
                |((session, user, number), (started, active, offset, warned_of), attributes)| {
                    Checkpoint {
                        session: Packed::new(&session),
                        user: UserId {
                            text: Packed::new(&user),
                            number,
                        },
                        started_at: Timestamp::from_millis(started),
                        last_activity: Timestamp::from_millis(active),
                        start_offset: offset,
                        warned_of: warned_of.map(Timestamp::from_millis),
                        attributes: Some(Attributes::new(attributes).unwrap())
                            .filter(|all| !all.is_empty()),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn a_record_round_trips(checkpoint in checkpoints()) {
            let mut value = Vec::new();
            checkpoint.encode(&mut value);
            prop_assert_eq!(Checkpoint::decode(checkpoint.session.clone(), &value), Ok(checkpoint));
        }

        #[test]
        fn a_truncated_record_is_an_error(checkpoint in checkpoints(), cut in 0.0..1.0) {
            let mut value = Vec::new();
            checkpoint.encode(&mut value);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of the length")]
            value.truncate((value.len() as f64 * cut) as usize);
            prop_assert!(Checkpoint::decode(checkpoint.session, &value).is_err());
        }

        #[test]
        fn arbitrary_bytes_decode_or_fail(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Checkpoint::decode(Packed::new("s"), &value);
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let error = Checkpoint::decode(Packed::new("s"), &[2, 0, 0]).unwrap_err();
        assert_eq!(error, CheckpointError::NewerVersion { found: 2 });
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn a_typical_session_takes_few_bytes() {
        let checkpoint = Checkpoint {
            session: Packed::new("6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50"),
            user: UserId {
                text: Packed::new("123456"),
                number: true,
            },
            started_at: Timestamp::from_millis(1_764_000_000_000),
            last_activity: Timestamp::from_millis(1_764_000_600_000),
            start_offset: 1_000_000,
            warned_of: None,
            attributes: None,
        };
        let mut value = Vec::new();
        checkpoint.encode(&mut value);
        assert!(value.len() <= 26, "{} bytes", value.len());
    }
}
