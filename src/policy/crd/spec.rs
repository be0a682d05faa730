//! What a session policy says.
#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "printer columns are alike, and the derives repeat the types inside functions"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::SessionPolicyStatus;
use super::validation;

/// The rules of a session policy. Durations are written like `90s`, `15m` or `1h30m`.
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
    doc = "How long user sessions may last. Running trackers obey an edit within a second.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(
        name = "Idle",
        type_ = "string",
        json_path = ".spec.idleTimeout",
        description = "The longest time without activity."
    ),
    printcolumn(
        name = "Absolute",
        type_ = "string",
        json_path = ".spec.absoluteTimeout",
        description = "The longest time since the start or the last login."
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        description = "The highest priority that matches a session wins."
    ),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.trackers",
        description = "How many of the live trackers run this generation."
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
        description = "Why it is ready or not.",
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
    /// The longest time without activity; more than zero.
    #[schemars(schema_with = "validation::duration")]
    pub idle_timeout: String,
    /// The longest time since the start or the last login, activity or not; at least
    /// the idle timeout. Without it, an active session may last for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::duration")]
    pub absolute_timeout: Option<String>,
    /// How long before its end a warning of it is written; more than zero, less than
    /// the idle timeout. Without it, no warnings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::duration")]
    pub warn_before: Option<String>,
    /// The highest priority that matches a session wins; ties go by name.
    #[serde(default)]
    pub priority: i32,
    /// Which sessions the policy is for; without it, all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Match")]
    pub matches: Option<Match>,
    /// Names of the handler actions to run for sessions under this policy; without it,
    /// all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "validation::actions")]
    pub actions: Option<Vec<String>>,
    /// Incident switch: while true, sessions of this policy never expire. Logouts and
    /// revocations still end them.
    #[serde(default)]
    pub suspend: bool,
}

/// Which sessions a policy is for. All of it has to fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Attributes that the session has to have, with exactly these values; at most 1 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "validation::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// Globs (`*` any text, `?` one character), one of which the session's user id has
    /// to match; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "validation::user_ids")]
    pub user_ids: Vec<String>,
}
