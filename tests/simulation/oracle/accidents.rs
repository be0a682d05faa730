//! What the oracle knows after accidents.

use std::collections::BTreeSet;

use super::completeness::place_of;
use super::{Oracle, origin_of};
use crate::cluster::{Cluster, Place, index};

impl Oracle {
    /// Something of these partitions has been torn apart: what has been written so far need not count.
    pub(crate) fn disturb(&mut self, cluster: &Cluster, partitions: &BTreeSet<i32>) {
        self.is_disturbed = true;
        for partition in partitions {
            let log = cluster.log(Place::Source(*partition));
            self.give_up(*partition);
            // A checkpoint that has lost nothing but endings is not noticed.
            self.reset_at.insert(*partition, cluster.now);
            // Offsets are given again.
            let gone = |offset: i64| offset >= log.end;
            for fact in &mut self.facts {
                if fact.partition == *partition && fact.offset.is_some_and(gone) {
                    self.dead.remove(&place_of(fact));
                    fact.offset = Some(-1);
                }
                if fact.origin.partition == *partition && gone(fact.origin.offset) {
                    self.dead.remove(&origin_of(fact));
                    fact.origin.offset = -1;
                    fact.offset.get_or_insert(-1);
                }
            }
            self.misrouted
                .retain(|(origin, offset, _), _| origin != partition || !gone(*offset));
            if let Some(read) = self.read_source.get_mut(index(*partition)) {
                *read = log.end.min(*read);
            }
        }
    }

    /// Trackers hold these partitions: no session of them may end.
    pub(crate) fn hold(&mut self, partitions: impl Iterator<Item = i32>) {
        self.held = partitions.collect();
    }

    /// The operator has reset a partition: what is written from now on counts.
    pub(crate) fn reset(&mut self, cluster: &Cluster, partition: i32) {
        self.held.remove(&partition);
        self.give_up(partition);
        self.reset_at.insert(partition, cluster.now);
    }

    fn give_up(&mut self, partition: i32) {
        if let Some(deleted) = self.deleted.get_mut(index(partition)) {
            *deleted = true;
        }
        for fact in &mut self.facts {
            if fact.partition == partition || fact.origin.partition == partition {
                fact.lost = true;
                self.dead.remove(&origin_of(fact));
                self.dead.remove(&place_of(fact));
            }
        }
    }
}
