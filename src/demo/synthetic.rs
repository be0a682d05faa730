//! One action of a made-up user.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::kafka::event_writer::Target;
use crate::session::{EventKind, Timestamp};
use crate::wire::event::encode::{SessionEvent, user_id};

/// Every tenth user has a name instead of a number: both are allowed as ids.
const NAMED_EVERY: u32 = 10;
/// Users are numbered from here, so that their ids look like ids.
const FIRST_NUMBER: u32 = 1_000;

/// What the attributes of logins say.
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const CLIENTS: [&str; 2] = ["web", "mobile"];

/// What a made-up user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Which user, counted from 0.
    pub user: u32,
    /// In which session.
    pub session: Uuid,
    /// What.
    pub kind: EventKind,
    /// When; may be earlier than actions that were reported before it.
    pub at: Timestamp,
}

impl Action {
    /// Where its record goes.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Key(self.session.to_string())
    }

    /// Its record's value.
    ///
    /// # Errors
    /// As of [`SessionEvent::to_json`].
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let number = FIRST_NUMBER + self.user;
        let user = match self.user % NAMED_EVERY {
            0 => user_id(&format!("user-{number}"), true)?,
            _ => user_id(&number.to_string(), false)?,
        };
        let attributes = BTreeMap::from([
            ("tenant", pick(&TENANTS, self.user)),
            ("client", pick(&CLIENTS, self.session.as_fields().0)),
        ]);
        // Applications differ: one half sends attributes, the other does not.
        let carried = self.kind == EventKind::Login && self.user.is_multiple_of(2);
        let session = self.session.to_string();
        SessionEvent {
            user_id: Some(&user),
            session_id: Some(&session),
            activity_timestamp: self.at,
            kind: self.kind,
            attributes: carried.then_some(&attributes),
        }
        .to_json()
    }
}

fn pick(names: &[&'static str], number: u32) -> &'static str {
    names[number as usize % names.len()]
}
