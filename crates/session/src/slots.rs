//! Memory of live sessions.
//!
//! Slots are allocated in chunks that never move, so growing neither copies all
//! sessions nor needs the doubled memory of a growing vector. Lists are intrusive: a session leaves
//! a list in constant time, and membership needs no allocation.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::attributes::{Attributes, SessionAttributes};
use super::id::{Packed, UserId};
use super::policy::PolicyIndex;
use super::time::Timestamp;

const CHUNK: usize = 512;
const NONE: u32 = u32::MAX;

pub(super) type SlotId = u32;

/// The part of a live session that activity needs: one cache line, the only memory that an event
/// fetches besides the index.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) id: Packed,
    /// The latest login; the start of the session if there was none.
    pub(super) authenticated_at: Timestamp,
    pub(super) last_activity: Timestamp,
    /// The first offset that the session's checkpoint record does not cover; meaningful while the
    /// slot is in the dirty list, and during a restore.
    pub(super) dirty_offset: i64,
    dirty_links: Links,
    pub(super) policy: PolicyIndex,
    /// The wheel's bucket that holds the slot's timer.
    pub(super) bucket: u16,
    pub(super) flags: Flags,
}

/// The rest of a live session.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) user: Packed,
    pub(super) started_at: Timestamp,
    /// `None` if no event had any.
    pub(super) attributes: Option<Box<SessionAttributes>>,
    timer_links: Links,
}

impl Details {
    pub(super) fn attributes(&self) -> Option<&Attributes> {
        let known = self.attributes.as_deref()?;
        Some(&known.attributes).filter(|all| !all.is_empty())
    }
}

/// With the index, no more than 128 bytes a session.
const _: () = assert!(size_of::<Slot>() == 64 && size_of::<Details>() == 48);

/// Per-session state flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The slot holds a session.
    pub(super) const LIVE: Self = Self(1);
    pub(super) const USER_IS_NUMBER: Self = Self(2);
    /// A login has been applied to the session.
    pub(super) const LOGGED_IN: Self = Self(4);
    /// The next flush stores the session.
    pub(super) const PENDING: Self = Self(8);
    /// A warning has been written since the deadline last moved.
    pub(super) const WARNED: Self = Self(16);
    /// The session is in the dirty list.
    pub(super) const DIRTY: Self = Self(32);
    /// Events wait for the end of the session.
    pub(super) const DEFERRED: Self = Self(64);
    /// Events from the next check of its user's sessions on wait.
    pub(super) const AWAITS_CHECK: Self = Self(128);
    /// The first event of the session is a login.
    pub(super) const BEGAN_WITH_LOGIN: Self = Self(256);

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Self, to: bool) {
        if to {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Links {
    prev: SlotId,
    next: SlotId,
}

impl Links {
    const UNLINKED: Self = Self {
        prev: NONE,
        next: NONE,
    };
}

/// All slots of a table, live and free.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Box<[Slot]>>,
    details: Vec<Box<[Details]>>,
    free: List<TIMERS>,
    live: usize,
}

impl Slots {
    /// Returns the number of live sessions.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Returns whether there is a slot that needs no more memory.
    pub(super) fn has_free(&self) -> bool {
        self.live < self.slots.len() * CHUNK
    }

    /// Puts a session into a free slot; the caller sets the other fields.
    pub(super) fn insert(&mut self, id: Packed, user: UserId) -> SlotId {
        let slot = self.pop_free();
        let mut flags = Flags::LIVE;
        flags.set(Flags::USER_IS_NUMBER, user.number);
        self[slot] = Slot {
            id,
            flags,
            ..Slot::default()
        };
        self.details_mut(slot).user = user.text;
        self.live += 1;
        slot
    }

    /// Frees a slot, which must be in no list, and returns its session.
    pub(super) fn remove(&mut self, slot: SlotId) -> (Slot, Details) {
        let session = core::mem::take(&mut self[slot]);
        let details = core::mem::take(self.details_mut(slot));
        let mut free = core::mem::take(&mut self.free);
        free.push_back(self, slot);
        self.free = free;
        self.live -= 1;
        (session, details)
    }

    /// Iterates over the live slots in order.
    pub(super) fn live(&self) -> impl Iterator<Item = SlotId> {
        let slots = self.slots.iter().flatten();
        let live = (0..)
            .zip(slots)
            .filter(|(_, slot)| slot.flags.has(Flags::LIVE));
        live.map(|(number, _)| number)
    }

    /// Iterates over all slots from `start` on, live or free.
    pub(super) fn numbers(&self, start: SlotId) -> impl Iterator<Item = SlotId> + use<> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "tables are bounded well below 2^32"
        )]
        let end = (self.slots.len() * CHUNK) as SlotId;
        start..end
    }

    pub(super) fn details(&self, slot: SlotId) -> &Details {
        let (chunk, at) = place(slot);
        &self.details[chunk][at]
    }

    pub(super) fn details_mut(&mut self, slot: SlotId) -> &mut Details {
        let (chunk, at) = place(slot);
        &mut self.details[chunk][at]
    }

    pub(super) fn user_id(&self, slot: SlotId) -> UserId {
        UserId {
            text: self.details(slot).user.clone(),
            number: self[slot].flags.has(Flags::USER_IS_NUMBER),
        }
    }

    fn pop_free(&mut self) -> SlotId {
        let mut free = core::mem::take(&mut self.free);
        let slot = free.pop_front(self).unwrap_or_else(|| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "tables are bounded well below 2^32"
            )]
            let first = (self.slots.len() * CHUNK) as SlotId;
            self.slots
                .push((0..CHUNK).map(|_| Slot::default()).collect());
            self.details
                .push((0..CHUNK).map(|_| Details::default()).collect());
            for slot in (first..).take(CHUNK).skip(1) {
                free.push_back(self, slot);
            }
            first
        });
        self.free = free;
        slot
    }

    fn links_mut(&mut self, link: usize, slot: SlotId) -> &mut Links {
        if link == DIRTY {
            &mut self[slot].dirty_links
        } else {
            &mut self.details_mut(slot).timer_links
        }
    }
}

impl Index<SlotId> for Slots {
    type Output = Slot;

    fn index(&self, slot: SlotId) -> &Slot {
        let (chunk, at) = place(slot);
        &self.slots[chunk][at]
    }
}

impl IndexMut<SlotId> for Slots {
    fn index_mut(&mut self, slot: SlotId) -> &mut Slot {
        let (chunk, at) = place(slot);
        &mut self.slots[chunk][at]
    }
}

fn place(slot: SlotId) -> (usize, usize) {
    (slot as usize / CHUNK, slot as usize % CHUNK)
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            id: Packed::new(""),
            authenticated_at: Timestamp::MIN,
            last_activity: Timestamp::MIN,
            dirty_offset: 0,
            dirty_links: Links::UNLINKED,
            policy: PolicyIndex::default(),
            bucket: u16::MAX,
            flags: Flags::default(),
        }
    }
}

impl Default for Details {
    fn default() -> Self {
        Self {
            user: Packed::new(""),
            started_at: Timestamp::MIN,
            attributes: None,
            timer_links: Links::UNLINKED,
        }
    }
}

/// The link of the wheel's buckets, and of the free list.
pub(super) const TIMERS: usize = 0;
/// The link of the dirty list.
pub(super) const DIRTY: usize = 1;

/// A FIFO list of slots, linked through their link number `LINK`.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const LINK: usize> {
    head: SlotId,
    tail: SlotId,
}

impl<const LINK: usize> Default for List<LINK> {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
        }
    }
}

impl<const LINK: usize> List<LINK> {
    pub(super) fn front(self) -> Option<SlotId> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn push_back(&mut self, slots: &mut Slots, slot: SlotId) {
        *slots.links_mut(LINK, slot) = Links {
            prev: self.tail,
            next: NONE,
        };
        match self.tail {
            NONE => self.head = slot,
            tail => slots.links_mut(LINK, tail).next = slot,
        }
        self.tail = slot;
    }

    pub(super) fn pop_front(&mut self, slots: &mut Slots) -> Option<SlotId> {
        let slot = self.front()?;
        self.unlink(slots, slot);
        Some(slot)
    }

    /// Unlinks `slot`, which must be in this list.
    pub(super) fn unlink(&mut self, slots: &mut Slots, slot: SlotId) {
        let Links { prev, next } = core::mem::replace(slots.links_mut(LINK, slot), Links::UNLINKED);
        match prev {
            NONE => self.head = next,
            prev => slots.links_mut(LINK, prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => slots.links_mut(LINK, next).prev = prev,
        }
    }
}
