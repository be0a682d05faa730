//! The topics of an installation: what they have to be like ([`catalogue`]), what there
//! is ([`TopicAdmin`]), and what lies between ([`plan`]).

mod admin;
mod catalogue;
mod error;
mod plan;
mod require;
mod state;

pub use admin::TopicAdmin;
pub use catalogue::{ConfigSpec, Layout, Setting, TopicSpec, catalogue};
pub use error::TopicError;
pub use plan::{Action, Difference, Step, plan};
pub use require::{SourceTopic, require, require_for_tracker, wait_for_topics};
pub use state::ExistingTopics;
pub use state::{ConfigValue, Offsets, PartitionState, TimestampType, TopicState};
