//! The session core: pure code.
//!
//! No clock, no I/O, no async, no randomness in here; time comes in as an argument
//! and effects go out as values. `tests/architecture.rs` keeps it so.

pub mod attributes;
pub mod checkpoint;
pub mod effect;
pub mod event;
pub mod id;
pub mod policy;
pub mod reason;
mod slots;
pub mod table;
pub mod time;
mod wheel;

pub use attributes::Attributes;
pub use checkpoint::Checkpoint;
pub use effect::{Effect, Ending, Expiring};
pub use event::{Event, EventKind, Subject};
pub use id::{Packed, SessionId, UserId, UserRef};
pub use policy::{Matcher, Policy, PolicyIndex, PolicySet};
pub use reason::Reason;
pub use table::{Applied, Counters, LiveSession, LoggedEvent, SessionTable, TableConfig};
pub use time::{Span, Timestamp};
