//! The topics of an installation: their specification ([`catalogue`]), their administration
//! ([`TopicAdmin`]), and the difference between specification and cluster ([`plan`]).

mod admin;
mod catalogue;
mod error;
mod partition_counts;
mod plan;
mod require;
mod state;

pub use admin::TopicAdmin;
pub use catalogue::{ConfigSpec, Layout, Setting, TopicSpec, catalogue};
pub use error::TopicError;
pub use plan::{PlannedTopic, TopicAction, TopicDifference, plan};
pub use require::{
    ClockSource, SourceTopic, require, require_for_ingest, require_for_role, require_for_tracker,
    wait_for_topics,
};
pub use state::ExistingTopics;
pub use state::{ConfigValue, OffsetRange, PartitionState, TimestampType, TopicState};
