//! The consumer group: cooperative rebalances, silent members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sundown::kafka::group::Rebalance;

use crate::cluster::{Refused, index};

/// How long the group waits for a silent member.
pub(crate) const SESSION_TIMEOUT: i64 = 10_000;

/// A member's id and the generation in which it had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupMetadata {
    pub(crate) id: u64,
    pub(crate) generation: u64,
}

#[derive(Debug, Default)]
struct Member {
    /// Events that the member has not received yet.
    changes: VecDeque<Rebalance>,
    /// Asked to give these back.
    revoking: BTreeSet<i32>,
    /// Silent since.
    silent: Option<i64>,
}

/// The group.
#[derive(Debug)]
pub(crate) struct Group {
    generation: u64,
    ids: u64,
    owners: Vec<Option<u64>>,
    members: BTreeMap<u64, Member>,
    /// Moves partitions around: their order among members.
    turn: usize,
}

impl Group {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            generation: 0,
            ids: 0,
            owners: vec![None; partitions],
            members: BTreeMap::new(),
            turn: 0,
        }
    }

    pub(crate) fn join(&mut self) -> u64 {
        self.ids += 1;
        self.members.insert(self.ids, Member::default());
        self.balance();
        self.ids
    }

    /// A member leaves, or is thrown out: its partitions are free.
    pub(crate) fn remove(&mut self, id: u64) {
        self.members.remove(&id);
        for owner in &mut self.owners {
            *owner = owner.filter(|owner| *owner != id);
        }
        self.balance();
    }

    /// A member is fenced and rejoins under its id, before the group has changed: it loses its partitions
    /// and gets them back, in the same generation (KIP-848).
    pub(crate) fn fence(&mut self, id: u64) {
        let owners = self.owners.iter().zip(0_i32..);
        let owned = owners.filter(|(owner, _)| **owner == Some(id));
        let owned: Vec<i32> = owned.map(|(_, partition)| partition).collect();
        if let Some(member) = self.members.get_mut(&id)
            && member.changes.is_empty()
            && member.revoking.is_empty()
            && !owned.is_empty()
        {
            let changes = [Rebalance::Lost(owned.clone()), Rebalance::Assigned(owned)];
            member.changes.extend(changes);
        }
    }

    /// The member stops sending heartbeats, or resumes.
    pub(crate) fn silent(&mut self, id: u64, since: Option<i64>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.silent = since;
        }
    }

    /// Throws out members that have been silent for too long.
    pub(crate) fn expire(&mut self, now: i64) {
        let expired: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, member)| member.silent.is_some_and(|at| now - at > SESSION_TIMEOUT))
            .map(|(id, _)| *id)
            .collect();
        expired.into_iter().for_each(|id| self.remove(id));
    }

    /// Whether it has nothing more to do.
    pub(crate) fn is_stable(&self) -> bool {
        let mut members = self.members.values();
        members.all(|member| {
            member.silent.is_none() && member.changes.is_empty() && member.revoking.is_empty()
        })
    }

    /// The member as the group knows it now, if it does.
    pub(crate) fn metadata(&self, id: u64) -> Option<GroupMetadata> {
        let generation = self.generation;
        let member = self.members.get(&id);
        member.map(|_| GroupMetadata { id, generation })
    }

    /// Whether the group still takes that member's offsets.
    pub(crate) fn check(&self, member: GroupMetadata) -> Result<(), Refused> {
        match self.metadata(member.id) {
            Some(known) if known == member => Ok(()),
            Some(_) => Err(Refused("illegal generation")),
            None => Err(Refused("unknown member")),
        }
    }

    pub(crate) fn next_change(&mut self, id: u64) -> Option<Rebalance> {
        self.members.get_mut(&id)?.changes.pop_front()
    }

    /// The member has given partitions back that it was asked for; one that is fenced keeps its own.
    pub(crate) fn give_back(&mut self, id: u64, partitions: &[i32]) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut is_changed = false;
        for partition in partitions {
            if member.revoking.remove(partition) {
                self.owners[index(*partition)] = None;
                is_changed = true;
            }
        }
        if is_changed {
            self.balance();
        }
    }

    /// Partitions are added.
    pub(crate) fn grow(&mut self, partitions: usize) {
        self.owners.resize(partitions, None);
        self.balance();
    }

    /// Moves partitions to other members.
    pub(crate) fn turn(&mut self) {
        self.turn += 1;
        self.balance();
    }

    /// Hands out free partitions, and asks for those back that others are to have.
    fn balance(&mut self) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        if members.is_empty() {
            return;
        }
        self.generation += 1;
        for (number, owner) in self.owners.iter_mut().enumerate() {
            let target = members[(number + self.turn) % members.len()];
            let partition = i32::try_from(number).expect("a partition");
            let (id, change) = match *owner {
                None => {
                    *owner = Some(target);
                    (target, Rebalance::Assigned(vec![partition]))
                }
                Some(current) if current != target => {
                    let member = self.members.get_mut(&current);
                    if !member.is_some_and(|member| member.revoking.insert(partition)) {
                        continue;
                    }
                    (current, Rebalance::Revoked(vec![partition]))
                }
                Some(_) => continue,
            };
            if let Some(member) = self.members.get_mut(&id) {
                member.changes.push_back(change);
            }
        }
    }
}
