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
use crate::session::{EndReason, LiveSession, RememberedEnding, Span};
use crate::wire::terminal::{PolicyRef, user_literal};
use crate::wire::time;

/// The most sessions in one response.
pub const MAX_SESSIONS: usize = 100;
/// The path on the trackers' admin ports.
pub const PATH: &str = "/sessions";
/// The path at which trackers count the sessions that changes of policies would end.
pub const ENDINGS_PATH: &str = "/sessions/endings";
/// How far ahead those endings are.
pub const ENDINGS_AHEAD: Span = Span::from_secs(60);

/// The token of trackers' admin ports.
#[derive(Args, Clone, Debug, Default)]
pub struct AdminTokenArgs {
    /// File with the token that /sessions on the trackers' admin ports requires, at least
    /// 16 characters. A tracker without a token serves /sessions on loopback only.
    #[arg(long, env = "SUNDOWN_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl AdminTokenArgs {
    /// Reads the token, if a file is set.
    ///
    /// # Errors
    /// [`TokenError`] if the file has no valid token.
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
    /// Selects the session with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Selects the sessions of this user. A whole number selects a JSON number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Treats the user id as a JSON string even if it is a whole number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub string: bool,
    /// Leaves out the session of the user with this id; counts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except: Option<String>,
    /// Selects the sessions that have these attributes, a JSON object; counts only. An empty
    /// object selects all sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<String>,
    /// Whether to count the sessions instead of returning them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub count: bool,
}

/// Changes of policies, for [`ENDINGS_PATH`]: by full name, the value of the policy's record, or null for
/// a deleted policy.
pub type PolicyChanges = BTreeMap<String, Option<String>>;

/// A tracker's response.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LookupResponse {
    /// The sessions found, up to [`MAX_SESSIONS`].
    pub sessions: Vec<FoundSession>,
    /// The remembered endings of the session id that was asked for.
    #[serde(default)]
    pub ended: Vec<EndedSession>,
    /// Whether more sessions match.
    pub more: bool,
    /// The number of matching sessions, if they are counted.
    #[serde(default)]
    pub count: u64,
    /// The number of live sessions, if endings are counted.
    #[serde(default)]
    pub live: u64,
    /// The tracker's partitions. Those that are restoring have not been searched.
    pub partitions: Vec<SearchedPartition>,
}

/// A partition of a tracker that responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchedPartition {
    pub partition: i32,
    /// Whether the partition's state is being restored.
    pub restoring: bool,
}

/// A session that has ended a short time ago; trackers forget it after `--remember-endings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedSession {
    pub session_id: String,
    #[serde(with = "crate::wire::end_reason::EndReasonFormat")]
    pub reason: EndReason,
    /// RFC 3339.
    pub ended_at: String,
    /// The partition of its session events.
    pub partition: i32,
}

impl EndedSession {
    #[must_use]
    pub fn new(session: &str, ending: RememberedEnding, partition: i32) -> Self {
        Self {
            session_id: session.to_owned(),
            reason: ending.reason,
            ended_at: time::format(ending.ended_at),
            partition,
        }
    }
}

/// A live session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundSession {
    pub session_id: String,
    /// A number or a string, as the application wrote it.
    pub user_id: Option<Box<RawValue>>,
    pub policy: PolicyRef,
    /// The earliest event time, RFC 3339.
    pub started_at: String,
    /// The time of the latest login, or of the start if there was none; RFC 3339.
    #[serde(default)]
    pub authenticated_at: String,
    /// The latest event time, RFC 3339.
    pub last_activity: String,
    /// When the session ends without further events, RFC 3339; null while its policy is
    /// suspended.
    pub deadline: Option<String>,
    /// The reason at the deadline: `idle_timeout` or `absolute_timeout`.
    #[serde(default, with = "crate::wire::end_reason::option")]
    pub reason: Option<EndReason>,
    /// The reason, for humans.
    pub why: String,
    /// The partition of its session events.
    pub partition: i32,
    /// The attributes of its events.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl FoundSession {
    #[must_use]
    pub fn new(live: &LiveSession, partition: i32) -> Self {
        let attributes = live.attributes.iter().flat_map(|all| all.iter());
        Self {
            session_id: live.session.to_string(),
            user_id: user_literal(&live.user),
            policy: live.policy.as_ref().into(),
            started_at: time::format(live.started_at),
            authenticated_at: time::format(live.authenticated_at),
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

    /// The user id without JSON quotes; `None` if no event had one.
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
            format!("{timeout} after its start or latest login, regardless of activity")
        }
        (Some(_), _) => format!("{} after its last activity", policy.idle_timeout),
        (None, _) => "its policy is suspended: only a logout or a revocation ends it".to_owned(),
    }
}
