//! Users under a session limit: events are routed by user id, so a user is on one partition.

use sundown::wire::partitioner::murmur2_partition;

/// How many users each partition has.
pub(crate) const USERS: u32 = 2;

/// The id of one of the users that belong on a partition of `partitions`.
pub(crate) fn user_on(partition: i32, number: u32, partitions: i32) -> u32 {
    let is_there = |user: &u32| {
        let id = user.to_string();
        murmur2_partition(Some(id.as_bytes()), partitions) == Some(partition)
    };
    let mut there = (0..).filter(is_there).skip((number % USERS) as usize);
    there.next().expect("there are users for every partition")
}
