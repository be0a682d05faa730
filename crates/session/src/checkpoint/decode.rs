//! Records from bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    ATTRIBUTES_AT, AWAITS_CHECK, BEGAN_WITH_LOGIN, CUT_OFF, Checkpoint, CheckpointError,
    CutOffRecord, DEFERRED, ENDED, LIVE, LOGGED_IN, MORE_UNMATCHED, NUMBER, REAUTHENTICATED,
    Record, RecordKey, RememberedEnding, SessionRecord, UNMATCHED, UnmatchedEnd, VERSION, WARNED,
};
use crate::attributes::Attributes;
use crate::cut_off::{CutOff, CutOffScope};
use crate::deferred::DeferredEvent;
use crate::event::{EventKind, Initiator};
use crate::id::{Packed, UserId};
use crate::reason::EndReason;
use crate::time::{Span, Timestamp};

const TRUNCATED: CheckpointError = CheckpointError::Damaged("truncated");

impl RecordKey {
    /// Reads the key of a record.
    ///
    /// # Errors
    /// [`CheckpointError`] if it is neither a session id nor a cut-off.
    pub fn decode(key: &[u8]) -> Result<Self, CheckpointError> {
        if let [0, cut_off @ ..] = key {
            let mut reader = Reader(cut_off);
            let cut_off = reader.cut_off()?;
            reader.end()?;
            return Ok(Self::CutOff(Box::new(cut_off)));
        }
        let id = core::str::from_utf8(key)
            .map_err(|_| CheckpointError::Damaged("a key that is not UTF-8"))?;
        Ok(Self::Session(Packed::new(id)))
    }
}

impl Record {
    /// Reads a record from its key and value.
    ///
    /// # Errors
    /// [`CheckpointError`] if the record is of a newer version or damaged.
    pub fn decode(key: RecordKey, value: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader(value);
        let version = reader.byte()?;
        let record = match (version, key) {
            (0, _) => return Err(CheckpointError::Damaged("version 0")),
            (1, RecordKey::Session(session)) => Self::Session(SessionRecord {
                session,
                live: Some(reader.live_of_version_1()?),
                ended: None,
                unmatched: Vec::new(),
            }),
            (VERSION, RecordKey::Session(session)) => reader.session(session)?,
            (VERSION, RecordKey::CutOff(cut_off)) => reader.cut_off_value(*cut_off)?,
            (1, RecordKey::CutOff(_)) => {
                return Err(CheckpointError::Damaged("a cut-off of version 1"));
            }
            (found, _) => return Err(CheckpointError::NewerVersion { found }),
        };
        reader.end()?;
        Ok(record)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn session(&mut self, session: Packed) -> Result<Record, CheckpointError> {
        let parts = self.byte()?;
        if parts == 0 || parts & !(LIVE | ENDED | UNMATCHED | MORE_UNMATCHED) != 0 {
            return Err(CheckpointError::Damaged("unknown parts"));
        }
        let live = (parts & LIVE != 0).then(|| self.live()).transpose()?;
        let ended = (parts & ENDED != 0).then(|| self.ended()).transpose()?;
        let mut unmatched = Vec::new();
        if parts & UNMATCHED != 0 {
            unmatched.push(self.unmatched()?);
        }
        if parts & MORE_UNMATCHED != 0 {
            let count = self.length()?;
            for _ in 0..count {
                unmatched.push(self.unmatched()?);
            }
        }
        Ok(Record::Session(SessionRecord {
            session,
            live,
            ended,
            unmatched,
        }))
    }

    fn live(&mut self) -> Result<Checkpoint, CheckpointError> {
        let flags = self.byte()?;
        let started_at = Timestamp::from_millis(self.integer()?);
        let position = self.integer()?;
        let last_activity = self.time_after(started_at)?;
        let flagged = |reader: &mut Self, flag| {
            let time = (flags & flag != 0).then(|| reader.time_after(started_at));
            time.transpose()
        };
        let authenticated_at = flagged(self, REAUTHENTICATED)?.unwrap_or(started_at);
        let warned_of = flagged(self, WARNED)?;
        let user = UserId {
            text: Packed::new(self.text()?),
            number: flags & NUMBER != 0,
        };
        let attributes = self.attributes()?.filter(|all| !all.is_empty());
        let attributes_at =
            flagged(self, ATTRIBUTES_AT)?.or(attributes.as_ref().map(|_| last_activity));
        let mut deferred = Vec::new();
        if flags & DEFERRED != 0 {
            for _ in 0..self.length()? {
                deferred.push(self.deferred(started_at)?);
            }
        }
        Ok(Checkpoint {
            user,
            started_at,
            authenticated_at,
            logged_in: flags & LOGGED_IN != 0,
            began_with_login: flags & BEGAN_WITH_LOGIN != 0,
            last_activity,
            warned_of,
            attributes,
            attributes_at,
            deferred,
            awaits_check: flags & AWAITS_CHECK != 0,
            position,
        })
    }

    fn live_of_version_1(&mut self) -> Result<Checkpoint, CheckpointError> {
        let flags = self.byte()?;
        let started_at = Timestamp::from_millis(self.integer()?);
        let last_activity = self.time_after(started_at)?;
        let warned_of = (flags & WARNED != 0).then(|| self.time_after(started_at));
        let warned_of = warned_of.transpose()?;
        let start_offset = self.integer()?;
        let user = UserId {
            text: Packed::new(self.text()?),
            number: flags & NUMBER != 0,
        };
        let attributes = self.attributes()?.filter(|all| !all.is_empty());
        Ok(Checkpoint {
            user,
            started_at,
            authenticated_at: started_at,
            // Unknown; a login makes the session outlast logouts from before it.
            logged_in: true,
            began_with_login: true,
            last_activity,
            warned_of,
            attributes_at: attributes.as_ref().map(|_| last_activity),
            attributes,
            deferred: Vec::new(),
            awaits_check: false,
            // Events from before its start are those of earlier sessions.
            position: start_offset,
        })
    }

    fn deferred(&mut self, start: Timestamp) -> Result<DeferredEvent, CheckpointError> {
        Ok(DeferredEvent {
            at: self.time_after(start)?,
            kind: kind(self.byte()?)?,
            broad: self.byte()? != 0,
            user: self.user()?,
            attributes: self.attributes()?.map(Box::new),
            initiator: self.initiator()?.map(Box::new),
        })
    }

    fn ended(&mut self) -> Result<RememberedEnding, CheckpointError> {
        let reason = reason(self.byte()?)?;
        let ended_at = Timestamp::from_millis(self.integer()?);
        let in_flight = match self.integer()? {
            0 => None,
            after => Some(ended_at + Span::from_millis(after.saturating_sub(1))),
        };
        Ok(RememberedEnding {
            reason,
            ended_at,
            in_flight,
        })
    }

    fn unmatched(&mut self) -> Result<UnmatchedEnd, CheckpointError> {
        Ok(UnmatchedEnd {
            reason: reason(self.byte()?)?,
            at: Timestamp::from_millis(self.integer()?),
            initiator: self.initiator()?,
        })
    }

    fn cut_off(&mut self) -> Result<CutOff, CheckpointError> {
        let at = Timestamp::from_millis(self.integer()?);
        let reason = reason(self.byte()?)?;
        let scope = match self.user()? {
            Some(user) => CutOffScope::User(user),
            None => CutOffScope::Matching(self.attributes()?.unwrap_or_default()),
        };
        Ok(CutOff {
            scope,
            except: self.optional_text()?.map(Packed::new),
            at,
            reason,
            initiator: None,
        })
    }

    fn cut_off_value(&mut self, cut_off: CutOff) -> Result<Record, CheckpointError> {
        if self.byte()? != CUT_OFF {
            return Err(CheckpointError::Damaged("unknown parts"));
        }
        let complete = self.byte()? != 0;
        let initiator = self.initiator()?.map(Box::new);
        Ok(Record::CutOff(CutOffRecord {
            cut_off: CutOff {
                initiator,
                ..cut_off
            },
            complete,
        }))
    }

    fn user(&mut self) -> Result<Option<UserId>, CheckpointError> {
        let number = match self.byte()? {
            0 => return Ok(None),
            1 => false,
            2 => true,
            _ => return Err(CheckpointError::Damaged("an unknown kind of user id")),
        };
        let text = Packed::new(self.text()?);
        Ok(Some(UserId { text, number }))
    }

    fn initiator(&mut self) -> Result<Option<Initiator>, CheckpointError> {
        let initiator = Initiator {
            by: self.optional_text()?.map(Into::into),
            note: self.optional_text()?.map(Into::into),
        };
        Ok(Some(initiator).filter(|one| *one != Initiator::default()))
    }

    /// Reads attributes; `None` if there are none, rather than an empty map.
    fn attributes(&mut self) -> Result<Option<Attributes>, CheckpointError> {
        let count = self.integer()?;
        if count == -1 {
            return Ok(None);
        }
        // Not reserved up front: a damaged count must not allocate.
        let mut pairs = Vec::new();
        for _ in 0..length(count)? {
            pairs.push((self.text()?, self.text()?));
        }
        Ok(Some(Attributes::new(pairs)?))
    }

    fn byte(&mut self) -> Result<u8, CheckpointError> {
        let (&first, rest) = self.0.split_first().ok_or(TRUNCATED)?;
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

    fn time_after(&mut self, start: Timestamp) -> Result<Timestamp, CheckpointError> {
        let millis = start.as_millis().wrapping_add(self.integer()?);
        Ok(Timestamp::from_millis(millis))
    }

    fn length(&mut self) -> Result<usize, CheckpointError> {
        length(self.integer()?)
    }

    fn text(&mut self) -> Result<&'a str, CheckpointError> {
        let length = self.length()?;
        self.text_of(length)
    }

    fn optional_text(&mut self) -> Result<Option<&'a str>, CheckpointError> {
        match self.integer()? {
            -1 => Ok(None),
            bytes => self.text_of(length(bytes)?).map(Some),
        }
    }

    fn text_of(&mut self, length: usize) -> Result<&'a str, CheckpointError> {
        let (text, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        core::str::from_utf8(text).map_err(|_| CheckpointError::Damaged("a text that is not UTF-8"))
    }

    fn end(&self) -> Result<(), CheckpointError> {
        let rest = self.0;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(CheckpointError::Damaged("trailing bytes"))
        }
    }
}

fn length(value: i64) -> Result<usize, CheckpointError> {
    usize::try_from(value).map_err(|_| CheckpointError::Damaged("a negative length"))
}

fn kind(code: u8) -> Result<EventKind, CheckpointError> {
    Ok(match code {
        0 => EventKind::Activity,
        1 => EventKind::Login,
        2 => EventKind::Logout,
        3 => EventKind::Revoke,
        4 => EventKind::Rotated,
        _ => return Err(CheckpointError::Damaged("an unknown kind of event")),
    })
}

fn reason(code: u8) -> Result<EndReason, CheckpointError> {
    let reason = EndReason::ALL.get(usize::from(code));
    reason
        .copied()
        .ok_or(CheckpointError::Damaged("an unknown reason"))
}
