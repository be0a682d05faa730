//! The spec of a session policy.
#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "printer columns repeat attributes, and the derives repeat the types inside functions"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::SessionPolicyStatus;
use super::validation;

/// The rules of a session policy. Durations have the format `90s`, `15m` or `1h30m`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sundown.dev",
    version = "v1alpha1",
    kind = "SessionPolicy",
    root = "SessionPolicyResource",
    plural = "sessionpolicies",
    namespaced,
    shortname = "sp",
    category = "sundown",
    status = "SessionPolicyStatus",
    cel,
    doc = "How long user sessions may last. Running trackers apply an edit within a second.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(
        name = "Idle",
        type_ = "string",
        json_path = ".spec.idleTimeout",
        description = "Longest time without activity."
    ),
    printcolumn(
        name = "Absolute",
        type_ = "string",
        json_path = ".spec.absoluteTimeout",
        description = "Longest time since the start or the last login."
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        description = "The matching policy with the highest priority applies."
    ),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.trackers",
        description = "Live trackers that run this generation."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the policy is valid and published to the trackers."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Reason of the Ready condition.",
        priority = 1
    ),
    printcolumn(
        name = "Sessions",
        type_ = "integer",
        json_path = ".status.sessions",
        description = "Live sessions under the policy.",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = validation::warning_before_idle_timeout(),
    validation = validation::idle_before_absolute_timeout()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPolicySpec {
    /// Longest time without activity; more than zero.
    #[schemars(schema_with = "validation::duration")]
    pub idle_timeout: String,
    /// Longest time since the start or the last login, regardless of activity; at least
    /// the idle timeout. Without it, an active session never times out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::duration")]
    pub absolute_timeout: Option<String>,
    /// How long before the end of a session a warning is written; more than zero and less
    /// than the idle timeout. Without it, there are no warnings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::duration")]
    pub warn_before: Option<String>,
    /// How many sessions under this policy a user may have; when another one starts, the least
    /// recently active ones end. Needs trackers with `--routing-key user_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::max_sessions")]
    pub max_sessions: Option<u32>,
    /// The matching policy with the highest priority applies; ties are broken by name.
    #[serde(default)]
    pub priority: i32,
    /// Sessions to which the policy applies. Without it, the policy applies to all sessions.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Match")]
    pub matches: Option<Match>,
    /// Names of the handler actions to run for sessions under this policy. Without it, all
    /// actions run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::actions")]
    pub actions: Option<Vec<String>>,
    /// Incident switch: while true, sessions under this policy never time out. Logouts and
    /// revocations still end them.
    #[serde(default)]
    pub suspend: bool,
}

/// Selects the sessions to which a policy applies. A session must match all criteria.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Attributes that a session must have, with exactly these values; at most 1 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "validation::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// Globs of which the user id of a session must match one; at most 64. `*` matches any
    /// text, `?` one character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "validation::user_ids")]
    pub user_ids: Vec<String>,
}
