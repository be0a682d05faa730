//! Start offsets of the consumer groups of actions.
//!
//! A group without any committed offset belongs to an action that is new to the actions file, or
//! to a handler that has run with a single group so far. It starts where the handler's own group
//! stands, which no target delays: at the present, or at the offset up to which the single group
//! has run all actions. Without committed offsets there, as on the first start, it starts at the
//! beginning.
//!
//! The offsets are committed before the handler's own group moves, so an interrupted start
//! neither skips nor repeats events.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::role::{ConsumerRole, base_group};
use crate::kafka::group_offsets::{GroupOffsets, PartitionOffsets};

/// Commits the start offsets of the group of `role` on `topic` if the group has none.
///
/// # Errors
/// If the brokers do not respond in time or refuse the commit.
pub fn commit_start_offsets(
    client: &ClientConfig,
    role: &ConsumerRole,
    handler_group: &str,
    topic: &str,
) -> KafkaResult<()> {
    let group = role.group(handler_group);
    let base = base_group(handler_group, role.trigger());
    if group == base {
        return Ok(());
    }
    let own = GroupOffsets::new(client, &group, topic)?;
    if has_committed(&own.fetch()?) {
        return Ok(());
    }
    let base = GroupOffsets::new(client, &base, topic)?.fetch()?;
    let offsets: BTreeMap<i32, i64> = base.iter().map(start).collect();
    match own.commit(&offsets) {
        Ok(()) => {
            tracing::info!(group, topic, ?offsets, "new group: start offsets committed");
            Ok(())
        }
        // Another process of the handler has been faster: its member has joined the group.
        Err(error) if has_members(&error) && has_committed(&own.fetch()?) => Ok(()),
        Err(error) => Err(error),
    }
}

fn start(base: &PartitionOffsets) -> (i32, i64) {
    let offset = base.committed.unwrap_or(base.beginning);
    (base.partition, offset.max(base.beginning))
}

fn has_committed(offsets: &[PartitionOffsets]) -> bool {
    offsets.iter().any(|one| one.committed.is_some())
}

fn has_members(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_starts_where_the_handlers_own_stands_or_at_the_beginning() {
        for (committed, expected) in [(Some(7), 7), (None, 3), (Some(1), 3)] {
            let base = PartitionOffsets {
                partition: 2,
                beginning: 3,
                committed,
                end: 9,
            };
            assert_eq!(start(&base), (2, expected));
        }
    }
}
