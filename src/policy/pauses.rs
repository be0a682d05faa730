//! Partitions that somebody has paused: they are read by nobody until they are resumed,
//! whoever has them and however often that changes.
//!
//! A pause is a record of the policy topic, which every tracker and handler reads to its end
//! before it begins to work and follows from then on. Its key is
//! `control:pause:ROLE:PARTITION`, its value says who paused it, and a tombstone resumes it.
//! Keys that begin with `control:` belong to no policy; those that a release does not know,
//! it passes over.

mod write;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::kafka::Topics;
use crate::session::Timestamp;
use crate::wire::time;

pub use write::{PauseError, PauseWriter};

/// What the keys of records begin with that are no policies. No name of a policy has a colon.
const CONTROL: &str = "control:";
/// What the keys of pauses begin with.
const PAUSE: &str = "control:pause:";

/// Whose partitions can be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PausableRole {
    /// Partitions of session events: no session of a paused partition ends.
    Tracker,
    /// Partitions of terminal events: no action runs for a paused partition.
    Handler,
}

/// A partition of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Whose.
    pub role: PausableRole,
    /// Its number.
    pub partition: i32,
}

/// Who paused a partition, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pause {
    /// The version of this format: 1.
    pub v: u8,
    /// When, RFC 3339.
    pub at: String,
    /// How: `console` or `command line`.
    pub by: String,
    /// Why, as far as anybody has said; no more than [`MAX_REASON`] characters.
    pub reason: String,
}

/// The longest reason, in characters.
pub const MAX_REASON: usize = 200;

/// The partitions that are paused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<Place, Pause>);

/// Whether a record of the policy topic is no policy's.
#[must_use]
pub fn is_control(key: Option<&[u8]>) -> bool {
    key.is_some_and(|key| key.starts_with(CONTROL.as_bytes()))
}

impl PausableRole {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Handler => "handler",
        }
    }

    /// The topic whose partitions it reads.
    #[must_use]
    pub fn topic(self, topics: &Topics) -> &str {
        match self {
            Self::Tracker => &topics.session_logs,
            Self::Handler => &topics.expired_sessions,
        }
    }
}

impl Place {
    /// The key of its record.
    #[must_use]
    pub fn key(self) -> String {
        format!("{PAUSE}{}:{}", self.role.as_str(), self.partition)
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let place = str::from_utf8(key).ok()?.strip_prefix(PAUSE)?;
        let (role, partition) = place.split_once(':')?;
        Some(Self {
            role: PausableRole::from_str(role, false).ok()?,
            partition: partition.parse().ok().filter(|number| *number >= 0)?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {}", self.role.as_str(), self.partition)
    }
}

impl Pause {
    /// A pause from now on. Of `reason`, as much counts as there is room for.
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
    /// Takes in a control record; whether it changes anything.
    pub fn read(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        let Some(place) = key.and_then(Place::from_key) else {
            return false;
        };
        let Some(value) = value else {
            return self.0.remove(&place).is_some();
        };
        // Whoever wrote it: something is there, so the partition is paused.
        let pause = serde_json::from_slice(value).unwrap_or_default();
        self.0.insert(place, pause).is_none()
    }

    /// The partitions of a role that are paused.
    #[must_use]
    pub fn of(&self, role: PausableRole) -> BTreeSet<i32> {
        let of_role = self.0.keys().filter(|place| place.role == role);
        of_role.map(|place| place.partition).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Pause)> {
        self.0.iter().map(|(place, pause)| (*place, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Place = Place {
        role: PausableRole::Tracker,
        partition: 3,
    };

    #[test]
    fn a_pause_holds_until_its_tombstone() {
        let mut pauses = Pauses::default();
        let pause = Pause::new(Timestamp::from_millis(0), "console", "an incident");
        let value = serde_json::to_vec(&pause).unwrap();
        assert!(pauses.read(Some(THREE.key().as_bytes()), Some(&value)));
        assert!(!pauses.read(Some(THREE.key().as_bytes()), Some(&value)));
        assert_eq!(pauses.of(PausableRole::Tracker), BTreeSet::from([3]));
        assert_eq!(pauses.of(PausableRole::Handler), BTreeSet::new());
        assert_eq!(pauses.iter().next(), Some((THREE, &pause)));
        assert!(pauses.read(Some(THREE.key().as_bytes()), None));
        assert_eq!(pauses, Pauses::default());
    }

    #[test]
    fn what_a_release_does_not_know_changes_nothing() {
        let mut pauses = Pauses::default();
        for key in [
            "control:drain:tracker:3",
            "control:pause:controller:3",
            "control:pause:tracker:-1",
            "control:pause:tracker",
            "ns/policy",
        ] {
            assert!(!pauses.read(Some(key.as_bytes()), Some(b"{}")), "{key}");
        }
        assert!(!is_control(Some(b"ns/policy")) && is_control(Some(b"control:drain")));
        // Written by hand, it pauses all the same.
        assert!(pauses.read(Some(THREE.key().as_bytes()), Some(b"because")));
    }
}
