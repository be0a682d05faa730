//! Lookup of live sessions through the admin ports of the trackers that own them.
//!
//! | part | file |
//! |---|---|
//! | which tracker owns which partition | `session_lookup/owners.rs` |
//! | requests to trackers | `session_lookup/search.rs` |
//!
//! The tracker's side is `tracker/queries.rs`.

pub mod owners;
pub mod search;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::token::{Token, TokenError};
use crate::session::{EndReason, LiveSession};
use crate::wire::terminal::{PolicyRef, user_literal};
use crate::wire::time;

/// The most sessions in one response.
pub const MAX_SESSIONS: usize = 100;
/// The path on the trackers' admin ports.
pub const PATH: &str = "/sessions";

/// The token of trackers' admin ports.
#[derive(Args, Clone, Debug, Default)]
pub struct AdminTokenArgs {
    /// File with the token that /sessions on the trackers' admin ports requires, at least
    /// 16 characters. A tracker without a token serves /sessions on loopback only.
    #[arg(long, env = "SUNDOWN_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl AdminTokenArgs {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    /// [`TokenError`] if it cannot be used.
    pub fn read(&self) -> Result<Option<Token>, TokenError> {
        let file = self.admin_token_file.as_deref();
        file.map(|path| Token::read(path, "--admin-token-file"))
            .transpose()
    }
}

/// The query string of `/sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupQuery {
    /// The one of this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Those of this user: a number if it reads as a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user id is a string, though it reads as a number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub string: bool,
}

/// A tracker's response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LookupResponse {
    /// The sessions found, up to [`MAX_SESSIONS`].
    pub sessions: Vec<FoundSession>,
    /// Whether there are more than these.
    pub more: bool,
    /// The partitions that the tracker has. In those that restore, it cannot look yet.
    pub partitions: Vec<PartitionState>,
}

/// A partition of a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Which.
    pub partition: i32,
    /// Whether its state is still being read.
    pub restoring: bool,
}

/// A live session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundSession {
    /// Which session.
    pub session_id: String,
    /// Whose: number or string, as the application wrote it.
    pub user_id: Option<Box<RawValue>>,
    /// The policy that it runs under.
    pub policy: PolicyRef,
    /// The time of its first event or last login, RFC 3339.
    pub started_at: String,
    /// The latest event time seen, RFC 3339.
    pub last_activity: String,
    /// When it ends if nothing more happens, RFC 3339; null while its policy is suspended.
    pub deadline: Option<String>,
    /// What will have ended it then: `idle_timeout` or `absolute_timeout`.
    #[serde(default, with = "crate::wire::end_reason::option")]
    pub reason: Option<EndReason>,
    /// Why, for people.
    pub why: String,
    /// Its partition of session events.
    pub partition: i32,
    /// What its events said of it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl FoundSession {
    /// A session that lives on `partition`.
    #[must_use]
    pub fn new(live: &LiveSession, partition: i32) -> Self {
        let attributes = live.attributes.iter().flat_map(|all| all.iter());
        Self {
            session_id: live.session.to_string(),
            user_id: user_literal(&live.user),
            policy: live.policy.as_ref().into(),
            started_at: time::format(live.started_at),
            last_activity: time::format(live.last_activity),
            deadline: live.end.map(|(at, _)| time::format(at)),
            reason: live.end.map(|(_, reason)| reason),
            why: why(live),
            partition,
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The user's id as people write it; none if no event named one.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        let literal = self.user_id.as_ref()?.get();
        let text: Result<String, _> = serde_json::from_str(literal);
        Some(text.unwrap_or_else(|_| literal.to_owned()))
    }
}

fn why(live: &LiveSession) -> String {
    let policy = &live.policy;
    match (live.end, policy.absolute_timeout) {
        (Some((_, EndReason::AbsoluteTimeout)), Some(timeout)) => {
            format!("{timeout} after its start, activity or not")
        }
        (Some(_), _) => format!("{} after its last activity", policy.idle_timeout),
        (None, _) => "its policy is suspended: only a logout or a revocation ends it".to_owned(),
    }
}
