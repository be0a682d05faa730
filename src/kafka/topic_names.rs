//! The names of topics, groups and transactional ids.

use clap::Args;

/// Flags that name the installation's topics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topics")]
pub struct TopicArgs {
    /// Prefix of all topics, groups and transactional ids, so that several installations
    /// can share a Kafka cluster.
    #[arg(long, env = "SUNDOWN_TOPIC_PREFIX", default_value = "", global = true)]
    pub topic_prefix: String,

    /// Topic of session events, written by applications.
    #[arg(
        long,
        env = "SUNDOWN_SESSION_LOGS_TOPIC",
        default_value = "session_logs",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub session_logs_topic: String,

    /// Topic of terminal events.
    #[arg(
        long,
        env = "SUNDOWN_EXPIRED_SESSIONS_TOPIC",
        default_value = "expired_sessions",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub expired_sessions_topic: String,

    /// Topic of expiry warnings.
    #[arg(
        long,
        env = "SUNDOWN_EXPIRING_SESSIONS_TOPIC",
        default_value = "expiring_sessions",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub expiring_sessions_topic: String,

    /// Topic of the trackers' checkpoint records.
    #[arg(
        long,
        env = "SUNDOWN_CHECKPOINT_TOPIC",
        default_value = "sundown.checkpoint",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub checkpoint_topic: String,

    /// Topic of session policies.
    #[arg(
        long,
        env = "SUNDOWN_POLICIES_TOPIC",
        default_value = "sundown.policies",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub policies_topic: String,

    /// Topic of process reports.
    #[arg(
        long,
        env = "SUNDOWN_PROCESSES_TOPIC",
        default_value = "sundown.processes",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub processes_topic: String,

    /// Topic of watermarks: up to when processes have read and forwarded events.
    #[arg(
        long,
        env = "SUNDOWN_WATERMARKS_TOPIC",
        default_value = "sundown.watermarks",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub watermarks_topic: String,

    /// Topic of audit records: who did what by the console.
    #[arg(
        long,
        env = "SUNDOWN_AUDIT_TOPIC",
        default_value = "sundown.audit",
        value_name = "TOPIC",
        hide_short_help = true,
        global = true
    )]
    pub audit_topic: String,
}

/// The full names of the topics, prefix included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Session events, from applications.
    pub session_logs: String,
    /// Session events that trackers could not process.
    pub session_logs_dlq: String,
    /// Terminal events.
    pub expired_sessions: String,
    /// Terminal events that handlers could not process.
    pub expired_sessions_dlq: String,
    /// Expiry warnings.
    pub expiring_sessions: String,
    /// The tracker's checkpoint records.
    pub checkpoint: String,
    /// Policies.
    pub policies: String,
    /// Process reports.
    pub processes: String,
    /// Up to when processes have read and forwarded events.
    pub watermarks: String,
    /// Who did what by the console.
    pub audit: String,
}

impl Topics {
    /// All topics, `session_logs` first.
    #[must_use]
    pub fn all(&self) -> [&str; 10] {
        [
            &self.session_logs,
            &self.session_logs_dlq,
            &self.expired_sessions,
            &self.expired_sessions_dlq,
            &self.expiring_sessions,
            &self.checkpoint,
            &self.policies,
            &self.processes,
            &self.watermarks,
            &self.audit,
        ]
    }
}

impl TopicArgs {
    /// The full names of the topics.
    #[must_use]
    pub fn topics(&self) -> Topics {
        let name = |name: &str| format!("{}{name}", self.topic_prefix);
        Topics {
            session_logs: name(&self.session_logs_topic),
            session_logs_dlq: name(&format!("{}.dlq", self.session_logs_topic)),
            expired_sessions: name(&self.expired_sessions_topic),
            expired_sessions_dlq: name(&format!("{}.dlq", self.expired_sessions_topic)),
            expiring_sessions: name(&self.expiring_sessions_topic),
            checkpoint: name(&self.checkpoint_topic),
            policies: name(&self.policies_topic),
            processes: name(&self.processes_topic),
            watermarks: name(&self.watermarks_topic),
            audit: name(&self.audit_topic),
        }
    }

    /// The full name of a consumer group or transactional id.
    #[must_use]
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }
}
