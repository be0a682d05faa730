//! A lazy hierarchical timing wheel.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987): arming,
//! disarming and firing a timer take constant time however many there are. *Lazy*
//! means that activity does not touch the wheel. A timer stays where it was armed;
//! when the wheel comes past it, the caller looks up what the deadline has become
//! and arms it again there. A session that stays active is therefore moved once per
//! timeout, not once per event.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::slots::{List, SlotId, Slots, TIMERS};
use super::time::Timestamp;

/// A tick is 2^6 = 64 ms. Timers are exact all the same: within the tick that has
/// begun the caller compares times.
const TICK_BITS: u32 = 6;
const LEVEL_BITS: u32 = 8;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// Five levels of 256 buckets reach 2,229 years ahead.
const LEVELS: usize = 5;
/// The bucket of timers beyond the reach of the levels.
const OVERFLOW: usize = LEVELS * BUCKETS;
/// Not armed.
const DISARMED: u16 = u16::MAX;
/// Not armed: the timer has fired, and the caller holds the session.
const HELD: u16 = u16::MAX - 1;

#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Box<[List<TIMERS>]>,
    /// The tick up to which all timers have been drained.
    tick: i64,
}

impl Wheel {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            buckets: vec![List::default(); OVERFLOW + 1].into_boxed_slice(),
            tick: tick_of(now),
        }
    }

    /// Arms or re-arms the timer of `slot` for `due`. A timer due at
    /// [`Timestamp::MAX`] never fires.
    pub(super) fn arm(&mut self, slots: &mut Slots, slot: SlotId, due: Timestamp) {
        self.disarm(slots, slot);
        if due < Timestamp::MAX {
            let bucket = self.bucket_of(due);
            self.buckets[bucket].push_back(slots, slot);
            #[expect(clippy::cast_possible_truncation, reason = "at most OVERFLOW")]
            let bucket = bucket as u16;
            slots[slot].bucket = bucket;
        }
    }

    /// Marks a drained slot as held by the caller.
    pub(super) fn hold(slots: &mut Slots, slot: SlotId) {
        slots[slot].bucket = HELD;
    }

    /// Releases a held slot. Returns whether it was still held: arming or disarming also releases it.
    pub(super) fn release(slots: &mut Slots, slot: SlotId) -> bool {
        let held = slots[slot].bucket == HELD;
        if held {
            slots[slot].bucket = DISARMED;
        }
        held
    }

    /// Disarms the timer of `slot`.
    pub(super) fn disarm(&mut self, slots: &mut Slots, slot: SlotId) {
        let bucket = core::mem::replace(&mut slots[slot].bucket, DISARMED);
        if bucket != DISARMED && bucket != HELD {
            self.buckets[usize::from(bucket)].unlink(slots, slot);
        }
    }

    /// Advances to `now` and disarms every timer that may be due by then, appending their slots to
    /// `drained`. Some are not due yet or have moved: the caller fires or re-arms each.
    pub(super) fn drain(&mut self, slots: &mut Slots, now: Timestamp, drained: &mut Vec<SlotId>) {
        let from = self.tick;
        let to = tick_of(now).max(from);
        self.tick = to;
        for level in 0..LEVELS {
            let base = level * BUCKETS;
            let same_turn = turn(from, level) == turn(to, level);
            let first = position(from, level);
            let last = if same_turn {
                position(to, level)
            } else {
                BUCKETS - 1
            };
            for bucket in base + first..=base + last {
                self.empty(slots, bucket, drained);
            }
            if same_turn {
                return;
            }
        }
        self.empty(slots, OVERFLOW, drained);
    }

    fn empty(&mut self, slots: &mut Slots, bucket: usize, drained: &mut Vec<SlotId>) {
        while let Some(slot) = self.buckets[bucket].pop_front(slots) {
            slots[slot].bucket = DISARMED;
            drained.push(slot);
        }
    }

    /// Returns the bucket on the lowest level whose present turn reaches `due`.
    fn bucket_of(&self, due: Timestamp) -> usize {
        let tick = tick_of(due).max(self.tick);
        let level = (0..LEVELS).find(|&level| turn(tick, level) == turn(self.tick, level));
        level.map_or(OVERFLOW, |level| level * BUCKETS + position(tick, level))
    }
}

fn tick_of(at: Timestamp) -> i64 {
    at.as_millis() >> TICK_BITS
}

/// Returns the number of complete turns of the wheel of `level` by `tick`.
fn turn(tick: i64, level: usize) -> i64 {
    tick >> (LEVEL_BITS as usize * (level + 1))
}

/// Returns the bucket of the tick on the wheel of `level`.
fn position(tick: i64, level: usize) -> usize {
    let position = tick >> (LEVEL_BITS as usize * level) & (BUCKETS as i64 - 1);
    // Masked to 0..256.
    usize::try_from(position).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::id::{Packed, UserRef};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is armed and however far the wheel moves at once: each timer
        /// fires at the first stop at or after its time, and none fires before it.
        #[test]
        fn timers_fire_exactly_when_due(
            dues in proptest::collection::vec(-1_000_000_000_000_i64..400_000_000_000_000, 1..40),
            steps in proptest::collection::vec((0_i64..20, 0_u32..48), 1..60),
        ) {
            let at = Timestamp::from_millis;
            let mut slots = Slots::default();
            let mut wheel = Wheel::new(Timestamp::MIN);
            let user = UserRef { text: "u", number: false };
            let mut waiting: Vec<(SlotId, i64)> = dues
                .iter()
                .map(|&due| (slots.insert(Packed::new("s"), user.to_owned()), due))
                .collect();
            for &(slot, due) in &waiting {
                wheel.arm(&mut slots, slot, at(due));
            }
            let mut now = -1_000_000_000_000;
            for (factor, shift) in steps {
                now += factor << shift;
                let mut drained = Vec::new();
                wheel.drain(&mut slots, at(now), &mut drained);
                let due_of = |slot| waiting.iter().find(|w| w.0 == slot).map(|w| w.1).unwrap();
                let (mut fired, early): (Vec<_>, Vec<_>) = drained.iter().partition(|s| due_of(**s) <= now);
                for slot in early {
                    wheel.arm(&mut slots, slot, at(due_of(slot)));
                }
                let mut expected: Vec<_> = waiting.iter().filter(|w| w.1 <= now).map(|w| w.0).collect();
                fired.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(&fired, &expected);
                waiting.retain(|w| w.1 > now);
            }
        }
    }
}
