//! The spec of a session source, and its resource in Kubernetes.
#![expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "printer columns repeat attributes, and the derives repeat the types inside functions"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validation;
use crate::policy::crd::status::{Condition, conditions};

/// Where session events come from, and how to map them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sundown.dev",
    version = "v1alpha1",
    kind = "SessionSource",
    root = "SessionSourceResource",
    plural = "sessionsources",
    namespaced,
    shortname = "ss",
    category = "sundown",
    status = "SessionSourceStatus",
    cel,
    doc = "Maps the records of existing topics to session events.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(
        name = "Format",
        type_ = "string",
        json_path = ".spec.format",
        description = "Format of the records."
    ),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.processes",
        description = "Live ingest processes that run this generation."
    ),
    printcolumn(
        name = "Lag",
        type_ = "integer",
        json_path = ".status.lag",
        description = "Records that have not been read yet."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the source is valid and published to the ingest processes."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Reason of the Ready condition.",
        priority = 1
    ),
    printcolumn(
        name = "Mapped",
        type_ = "integer",
        json_path = ".status.records.mapped",
        description = "Records that became session events since the ingest processes started.",
        priority = 1
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        json_path = ".status.records.refused",
        description = "Records sent to the dead-letter topic since the ingest processes started.",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = validation::topics_or_pattern(),
    validation = validation::pattern_of_text(),
    validation = validation::pattern_of_text_only(),
    validation = validation::envelope_of_json(),
    validation = validation::registry_of_schemas(),
    validation = validation::registry_of_schemas_only()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionSourceSpec {
    /// Topics to read, by their full names; at least one, unless there is a `topicPattern`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "validation::topics")]
    pub topics: Vec<String>,
    /// Regular expression for the full names of the topics to read, instead of `topics`. Topics
    /// that are created later are read too. Those of other sources' `topics` are left to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 1024))]
    pub topic_pattern: Option<String>,
    /// Format of the records. Values in gzip or zstd are decompressed first.
    #[serde(default)]
    pub format: RecordFormat,
    /// Registry of the schemas that records of format `avro`, `protobuf` and `jsonSchema` name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SchemaRegistry")]
    pub schema_registry: Option<SchemaRegistry>,
    /// Envelope around the JSON of a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Envelope")]
    pub envelope: Option<Envelope>,
    /// Regular expression that lines of format `text` match; its named groups are the fields of
    /// `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub pattern: Option<String>,
    /// CEL expression that selects records; the others are skipped. Without it, all records are
    /// session events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub when: Option<String>,
    /// How to map a record to a session event, by CEL expressions over `value`, `key`, `headers`,
    /// `timestamp` (milliseconds since 1970), `topic` and `partition`. `id` or `user` is required.
    pub session: SessionMapping,
}

/// CEL expressions over `value`, `key`, `headers`, `timestamp` (milliseconds since 1970), `topic`
/// and `partition`. `id` or `user` is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = validation::id_or_user())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionMapping {
    /// The session id: a string or a whole number. Null for a logout of all sessions of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub id: Option<String>,
    /// The user id: a string or a whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub user: Option<String>,
    /// When it happened: RFC 3339, the format of Common Log Format, or a number. Without it, and
    /// for null, the timestamp of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub time: Option<String>,
    /// The kind of event: `activity`, `login`, `logout` or `revoke`. Without it, and for null,
    /// `activity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4096))]
    pub event: Option<String>,
    /// Attributes of the session: strings, numbers and booleans. One that is null, or whose
    /// expression reads a missing field, is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "validation::attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// The format of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecordFormat {
    /// `value` is the JSON.
    #[default]
    Json,
    /// CloudEvents 1.0, structured or binary: `value` has the context attributes and `data`.
    Cloudevents,
    /// A line of text: `value` has the named groups of `pattern`.
    Text,
    /// Avro in Confluent's wire format: `value` has the fields of the record.
    Avro,
    /// Protobuf in Confluent's wire format: `value` has the fields of the message, by their names
    /// in the `.proto` file.
    Protobuf,
    /// JSON in Confluent's wire format: `value` is the JSON, which is not validated.
    JsonSchema,
}

impl RecordFormat {
    /// Returns the name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Cloudevents => "cloudevents",
            Self::Text => "text",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
            Self::JsonSchema => "jsonSchema",
        }
    }

    /// Whether records can only be decoded with a schema from a registry.
    #[must_use]
    pub const fn needs_registry(self) -> bool {
        matches!(self, Self::Avro | Self::Protobuf)
    }

    /// Whether records name a schema of a registry.
    #[must_use]
    pub const fn names_schema(self) -> bool {
        matches!(self, Self::Avro | Self::Protobuf | Self::JsonSchema)
    }
}

/// A schema registry with Confluent's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaRegistry {
    /// Base URL, below which the registry has `/schemas/ids/ID`.
    #[schemars(
        length(min = 1, max = 2048),
        regex(pattern = r"^https?://[^/?#@]+[^?#@]*$")
    )]
    pub url: String,
    /// Name of the credentials among those that the ingest processes have; in the chart, of a
    /// Secret in `ingest.schemaRegistry.credentialsSecrets`. Its file `url` names the only registry
    /// that it is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub credentials_secret: Option<String>,
}

impl SchemaRegistry {
    /// Whether the URL has a user name or a password, which resources must not show.
    #[must_use]
    pub fn has_login(&self) -> bool {
        reqwest::Url::parse(&self.url)
            .is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    }
}

/// An envelope around the JSON of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Envelope {
    /// Kafka Connect's `schema` and `payload`: `value` is the payload.
    Connect,
    /// Debezium's change events, with or without `schema` and `payload`: `value` has `before`,
    /// `after`, `op`, …
    Debezium,
}

/// The observed state of the source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionSourceStatus {
    /// The generation that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub observed_generation: Option<i64>,
    /// `Ready`: valid and published to the ingest processes. `Distributed`: all live ingest
    /// processes run this generation. `Reading`: none of them has a problem with its topics or its
    /// schema registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Number of live ingest processes that run this generation, out of all live ones, as in
    /// `2/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub processes: Option<String>,
    /// What became of the records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RecordCounts")]
    pub records: Option<RecordCounts>,
    /// Records that have not been read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub lag: Option<u64>,
}

/// What became of the records that the live ingest processes have read since each started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordCounts {
    /// All of them.
    #[schemars(with = "i64")]
    pub read: u64,
    /// Became session events.
    #[schemars(with = "i64")]
    pub mapped: u64,
    /// Not selected by `when`.
    #[schemars(with = "i64")]
    pub skipped: u64,
    /// Sent to the dead-letter topic.
    #[schemars(with = "i64")]
    pub refused: u64,
}
