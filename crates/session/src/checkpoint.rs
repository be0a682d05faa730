//! Records of the checkpoint topic.
//!
//! The key of a session's record is the session id; its value holds the live session of that id, the
//! remembered ending of an earlier one, or both. The key of a cut-off is a NUL, with which no session
//! id starts, and the cut-off itself.
//!
//! Values of version 2, all integers as zigzag LEB128 variable-length integers, texts as their length
//! and UTF-8:
//!
//! | field | |
//! |---|---|
//! | version | one byte, 2 |
//! | parts | one byte: 1 = live session, 2 = remembered ending, 4 = cut-off, 8 = unmatched end, 16 = more of them |
//! | live session | see below |
//! | remembered ending | reason (one byte), `ended_at`, and 0 or 1 + the milliseconds from then to the latest dropped activity |
//! | unmatched end | reason (one byte), time, initiator |
//! | more of them | count, then each |
//! | cut-off | one byte: 1 = all live sessions have been checked; initiator |
//!
//! A live session:
//!
//! | field | |
//! |---|---|
//! | flags | one byte: 1 = the user id is a number, 2 = a warning has been written, 4 = logged in, 8 = `authenticated_at` differs from `started_at`, 16 = events are deferred, 32 = the session limit of its user is checked, 64 = its first event is a login, 128 = `attributes_at` differs from `last_activity` |
//! | `started_at` | milliseconds since the epoch |
//! | `position` | offset below which all events are in this state |
//! | `last_activity` | milliseconds after `started_at` |
//! | `authenticated_at`, `warned_of` | milliseconds after `started_at`; only if flagged |
//! | user id | text |
//! | attributes | count, then name and value of each |
//! | `attributes_at` | milliseconds after `started_at`; only if flagged |
//! | deferred events | only if flagged: count, then each event |
//!
//! Version 1 held live sessions only, with the offset of their first record and the latest login as
//! their start. It can be read; `authenticated_at` is then `started_at`.
//!
//! A reader must stop at a version above its own: skipping the record would lose a session.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::attributes::{Attributes, AttributesTooLarge};
use super::cut_off::CutOff;
pub use super::deferred::DeferredEvent;
use super::event::Initiator;
use super::id::{SessionId, UserId};
use super::reason::EndReason;
use super::time::Timestamp;

/// The version that [`Record::encode`] writes.
pub const VERSION: u8 = 2;

const LIVE: u8 = 1;
const ENDED: u8 = 2;
const CUT_OFF: u8 = 4;
const UNMATCHED: u8 = 8;
const MORE_UNMATCHED: u8 = 16;

const NUMBER: u8 = 1;
const WARNED: u8 = 2;
const LOGGED_IN: u8 = 4;
const REAUTHENTICATED: u8 = 8;
const DEFERRED: u8 = 16;
const AWAITS_CHECK: u8 = 32;
const BEGAN_WITH_LOGIN: u8 = 64;
const ATTRIBUTES_AT: u8 = 128;

/// A record of the checkpoint topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// What is known of a session id.
    Session(SessionRecord),
    /// A revocation of many sessions.
    CutOff(CutOffRecord),
}

/// The key of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub enum RecordKey {
    /// A session id.
    Session(SessionId),
    /// A cut-off, without its initiator.
    CutOff(Box<CutOff>),
}

/// What is known of a session id: at least one of its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The session id.
    pub session: SessionId,
    /// The live session.
    pub live: Option<Checkpoint>,
    /// The ending of an earlier session of the id.
    pub ended: Option<RememberedEnding>,
    /// Later logouts and revocations that ended nothing, by time.
    pub unmatched: Vec<UnmatchedEnd>,
}

/// The state of a live session at some offset of its partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The user of the session.
    pub user: UserId,
    /// The earliest event time.
    pub started_at: Timestamp,
    /// The time of the latest login; `started_at` if there was none.
    pub authenticated_at: Timestamp,
    /// Whether there was a login.
    pub logged_in: bool,
    /// Whether its first event is a login.
    pub began_with_login: bool,
    /// The latest event time.
    pub last_activity: Timestamp,
    /// The latest deadline for which a warning has been written.
    pub warned_of: Option<Timestamp>,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
    /// The time of the latest event that had attributes; `None` if none had.
    pub attributes_at: Option<Timestamp>,
    /// Events at or past the deadline, in the order in which they count.
    pub deferred: Vec<DeferredEvent>,
    /// Whether the session limit of the user is still to be checked for its start.
    pub awaits_check: bool,
    /// The offset below which all events of the session are in this state.
    pub position: i64,
}

/// The ending of a session, remembered so that what else concerns the session ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedEnding {
    /// The reason of the ending.
    pub reason: EndReason,
    /// When the session ended.
    pub ended_at: Timestamp,
    /// The latest activity after the end that no session has counted: traffic under way, or activity
    /// that a policy edit has put behind the deadline.
    pub in_flight: Option<Timestamp>,
}

/// A logout or revocation of a session that was over. It ends a session that turns up late and began
/// before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmatchedEnd {
    /// The time of the event.
    pub at: Timestamp,
    /// The reason that it gives to an ending.
    pub reason: EndReason,
    /// Who asked for it, if the event names them.
    pub initiator: Option<Initiator>,
}

/// A cut-off and how far it has been carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOffRecord {
    /// The cut-off.
    pub cut_off: CutOff,
    /// Whether all sessions that were live at the time have been checked against it.
    pub complete: bool,
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

impl Record {
    /// Returns the key of the record.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Session(record) => RecordKey::Session(record.session.clone()),
            Self::CutOff(record) => RecordKey::CutOff(Box::new(record.cut_off.clone())),
        }
    }
}
