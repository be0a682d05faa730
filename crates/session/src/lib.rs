//! The session core of Sundown: live sessions, policies, timers and checkpoints as pure code.
//!
//! The crate is `no_std`: it reads no clock, does no I/O and draws no random numbers. Time is an
//! argument of its functions, and effects are their results.

#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attributes;
pub mod checkpoint;
pub mod cut_off;
mod deferred;
pub mod effect;
pub mod event;
pub mod id;
pub mod policy;
pub mod reason;
mod remembered;
mod slots;
pub mod table;
pub mod time;
mod user_sessions;
mod wheel;

pub use attributes::Attributes;
pub use checkpoint::{
    Checkpoint, Record, RecordKey, RememberedEnding, SessionRecord, UnmatchedEnd,
};
pub use cut_off::{CutOff, CutOffScope};
pub use effect::{Effect, Ending, Expiring};
pub use event::{Event, EventKind, Initiator, Subject};
pub use id::{Packed, SessionId, UserId, UserRef};
pub use policy::{Glob, Matcher, Policy, PolicyIndex, PolicySet};
pub use reason::EndReason;
pub use table::{
    Applied, Counters, EndingCount, LiveSession, LoggedEvent, Lookup, SessionTable, TableConfig,
};
pub use time::{Span, Timestamp};
