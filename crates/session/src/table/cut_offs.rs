//! Memory of logouts and revocations of many sessions.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::checkpoint::RecordKey;
use crate::cut_off::CutOff;
use crate::slots::SlotId;
use crate::time::Timestamp;

/// The place of a cut-off: its time, and a number that distinguishes those of one time.
pub(super) type CutOffPlace = (Timestamp, u64);

/// The remembered cut-offs.
#[derive(Debug, Default)]
pub(super) struct CutOffs {
    pub(super) by_time: BTreeMap<CutOffPlace, RememberedCutOff>,
    /// In the order in which they were added, with the time from which they are remembered.
    pub(super) added: VecDeque<(Timestamp, CutOffPlace)>,
    next: u64,
    /// Cut-offs that have not been checked against all live sessions, and the next slot to check.
    pub(super) sweeps: VecDeque<(CutOffPlace, SlotId)>,
    /// Those whose record the next flush writes.
    pub(super) changed: Vec<CutOffPlace>,
    /// Those whose record the next flush deletes.
    pub(super) forgotten: Vec<RecordKey>,
}

#[derive(Debug)]
pub(super) struct RememberedCutOff {
    pub(super) cut_off: Arc<CutOff>,
    pub(super) complete: bool,
}

impl CutOffs {
    pub(super) fn find(&self, cut_off: &CutOff) -> Option<CutOffPlace> {
        let at = cut_off.at;
        let same_time = self.by_time.range((at, 0)..=(at, u64::MAX));
        let mut same = same_time.filter(|(_, entry)| is_same(&entry.cut_off, cut_off));
        same.next().map(|(place, _)| *place)
    }

    pub(super) fn insert(
        &mut self,
        cut_off: CutOff,
        complete: bool,
        now: Timestamp,
    ) -> CutOffPlace {
        let place = (cut_off.at, self.next);
        self.next += 1;
        self.added.push_back((now.max(cut_off.at), place));
        if !complete {
            self.sweeps.push_back((place, 0));
        }
        let cut_off = Arc::new(cut_off);
        self.by_time
            .insert(place, RememberedCutOff { cut_off, complete });
        place
    }

    /// Returns whether the cut-off is remembered and has not been checked against all live sessions.
    pub(super) fn is_incomplete(&self, place: CutOffPlace) -> bool {
        let entry = self.by_time.get(&place);
        entry.is_some_and(|entry| !entry.complete)
    }

    pub(super) fn remove(&mut self, place: CutOffPlace) {
        if let Some(entry) = self.by_time.remove(&place) {
            self.sweeps.retain(|(swept, _)| *swept != place);
            let cut_off = Arc::unwrap_or_clone(entry.cut_off);
            self.forgotten.push(RecordKey::CutOff(Box::new(cut_off)));
        }
    }
}

fn is_same(one: &CutOff, other: &CutOff) -> bool {
    (&one.scope, &one.except, one.reason) == (&other.scope, &other.except, other.reason)
}
