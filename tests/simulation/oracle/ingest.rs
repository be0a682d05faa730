//! What ingest has brought to the topic of session events.

use super::{Oracle, Verdict};
use crate::cluster::{Cluster, Place};

impl Oracle {
    /// Checks that ingest brings each event once.
    pub(super) fn observe_ingest(&mut self, cluster: &mut Cluster) -> Verdict {
        for copy in std::mem::take(&mut cluster.upstream.copies) {
            let log = cluster.log(Place::Source(copy.to.partition));
            if log.aborted(copy.txn) {
                continue;
            }
            if !log.committed(copy.txn) {
                cluster.upstream.copies.push(copy);
                continue;
            }
            let place = (copy.from.partition, copy.from.offset);
            let Some(number) = self.upstream.remove(&place) else {
                return Err(format!("ingested twice: {copy:?}"));
            };
            let fact = &mut self.facts[number];
            fact.origin = copy.to;
            fact.offset = (copy.to.partition == fact.partition).then_some(copy.to.offset);
            if fact.is_misrouted() {
                let place = (copy.to.partition, copy.to.offset, fact.partition);
                self.misrouted.insert(place, number);
            }
        }
        Ok(())
    }
}
