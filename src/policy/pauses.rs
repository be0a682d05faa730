//! Paused partitions: no process reads them until they are resumed, across restarts and
//! rebalances.
//!
//! A pause is a record of the policy topic, which trackers and handlers read to its end before
//! they start to work, and then continuously. The key is `control:pause:ROLE:PARTITION`, the
//! value a [`Pause`]; a tombstone resumes the partition. Keys with the prefix `control:` are
//! not names of policies; a release ignores those that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::kafka::Topics;
use crate::session::Timestamp;
use crate::wire::time;

/// Key prefix of control records. Names of policies have no colon.
const CONTROL_PREFIX: &str = "control:";
/// Key prefix of session sources.
pub const SOURCE_PREFIX: &str = "source:";
/// Key prefix of pauses.
const PAUSE_PREFIX: &str = "control:pause:";

/// A role whose partitions can be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PausableRole {
    /// Partitions of session events: no session of a paused partition ends.
    Tracker,
    /// Partitions of terminal events: no action runs for a paused partition.
    Handler,
}

/// A partition that a role reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RolePartition {
    pub role: PausableRole,
    pub partition: i32,
}

/// The value of a pause record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pause {
    /// The version of this format: 1.
    pub v: u8,
    /// Time of the pause, RFC 3339.
    pub at: String,
    /// Where it was paused from: `console` or `command line`.
    pub by: String,
    /// Reason given by the user; at most [`MAX_REASON`].
    pub reason: String,
}

/// The longest reason, in characters.
pub const MAX_REASON: usize = 200;

/// The paused partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<RolePartition, Pause>);

/// Returns whether a record with this key is not a policy's.
#[must_use]
pub fn is_control(key: Option<&[u8]>) -> bool {
    let prefixes = [CONTROL_PREFIX, SOURCE_PREFIX];
    key.is_some_and(|key| {
        prefixes
            .iter()
            .any(|prefix| key.starts_with(prefix.as_bytes()))
    })
}

impl PausableRole {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Handler => "handler",
        }
    }

    /// The topic that the role reads.
    #[must_use]
    pub fn topic(self, topics: &Topics) -> &str {
        match self {
            Self::Tracker => &topics.session_logs,
            Self::Handler => &topics.expired_sessions,
        }
    }
}

impl RolePartition {
    /// The key of the partition's pause record.
    #[must_use]
    pub fn key(self) -> String {
        format!("{PAUSE_PREFIX}{}:{}", self.role.as_str(), self.partition)
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let partition = str::from_utf8(key).ok()?.strip_prefix(PAUSE_PREFIX)?;
        let (role, partition) = partition.split_once(':')?;
        Some(Self {
            role: PausableRole::from_str(role, false).ok()?,
            partition: partition.parse().ok().filter(|number| *number >= 0)?,
        })
    }
}

impl std::fmt::Display for RolePartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {}", self.role.as_str(), self.partition)
    }
}

impl Pause {
    /// Creates a pause, with `reason` truncated to [`MAX_REASON`].
    #[must_use]
    pub fn new(at: Timestamp, by: &str, reason: &str) -> Self {
        Self {
            v: 1,
            at: time::format(at),
            by: by.to_owned(),
            reason: reason.chars().take(MAX_REASON).collect(),
        }
    }
}

impl Pauses {
    /// Applies a control record, and returns whether the paused partitions changed.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        let Some(partition) = key.and_then(RolePartition::from_key) else {
            return false;
        };
        let Some(value) = value else {
            return self.0.remove(&partition).is_some();
        };
        // Any value pauses the partition, even one of another format.
        let pause = serde_json::from_slice(value).unwrap_or_default();
        self.0.insert(partition, pause).is_none()
    }

    /// The paused partitions of a role.
    #[must_use]
    pub fn of(&self, role: PausableRole) -> BTreeSet<i32> {
        let of_role = self.0.keys().filter(|paused| paused.role == role);
        of_role.map(|paused| paused.partition).collect()
    }

    /// All pauses.
    pub fn iter(&self) -> impl Iterator<Item = (RolePartition, &Pause)> {
        self.0.iter().map(|(partition, pause)| (*partition, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: RolePartition = RolePartition {
        role: PausableRole::Tracker,
        partition: 3,
    };

    #[test]
    fn a_pause_holds_until_its_tombstone() {
        let mut pauses = Pauses::default();
        let pause = Pause::new(Timestamp::from_millis(0), "console", "an incident");
        let value = serde_json::to_vec(&pause).unwrap();
        assert!(pauses.apply(Some(THREE.key().as_bytes()), Some(&value)));
        assert!(!pauses.apply(Some(THREE.key().as_bytes()), Some(&value)));
        assert_eq!(pauses.of(PausableRole::Tracker), BTreeSet::from([3]));
        assert_eq!(pauses.of(PausableRole::Handler), BTreeSet::new());
        assert_eq!(pauses.iter().next(), Some((THREE, &pause)));
        assert!(pauses.apply(Some(THREE.key().as_bytes()), None));
        assert_eq!(pauses, Pauses::default());
    }

    #[test]
    fn unknown_control_records_change_nothing() {
        let mut pauses = Pauses::default();
        for key in [
            "control:drain:tracker:3",
            "control:pause:controller:3",
            "control:pause:tracker:-1",
            "control:pause:tracker",
            "ns/policy",
        ] {
            assert!(!pauses.apply(Some(key.as_bytes()), Some(b"{}")), "{key}");
        }
        assert!(!is_control(Some(b"ns/policy")) && is_control(Some(b"control:drain")));
        // A value that is not JSON pauses the partition too.
        assert!(pauses.apply(Some(THREE.key().as_bytes()), Some(b"because")));
    }
}
