//! The invariants: a slow and obvious comparison of the log with the output of the trackers. It
//! does not look at the memory of a tracker.

mod accidents;
mod completeness;
mod ending;
mod ingest;
mod limit;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use sundown::kafka::transaction::delivery::Delivery;
use sundown::session::EndReason;
use sundown::wire::forwarded::Forwarded;
use sundown::wire::terminal::{SessionEnded, SessionExpiring};
use uuid::{Uuid, uuid};

use crate::cluster::{Cluster, Place, index};
use crate::facts::Fact;
use crate::rules::Rules;
use crate::schedule::Settings;
pub(crate) use completeness::lateness_bound;
use completeness::origin_of;
use ending::Ending;

/// Names the event ids of Sundown (UUIDv5); fixed for good.
const EVENT_IDS: Uuid = uuid!("8f4e6f0c-7d0b-4b5e-9a57-3c2a61d8e4b2");

/// Checks what the trackers write.
#[derive(Debug)]
pub(crate) struct Oracle {
    settings: Settings,
    facts: Vec<Fact>,
    endings: Vec<Ending>,
    /// The event ids of endings.
    event_ids: BTreeSet<Uuid>,
    /// Warnings: their event ids, and the generation of the policy.
    warnings: BTreeSet<(Uuid, u64)>,
    /// Dead letters by where they come from.
    dead: BTreeMap<String, usize>,
    /// How far each of the tracker's topics has been read.
    read: [i64; 3],
    /// Whether there has been an accident.
    is_disturbed: bool,
    /// The partitions that trackers hold.
    held: BTreeSet<i32>,
    /// When partitions were reset last.
    reset_at: BTreeMap<i32, i64>,
    /// When partitions were first added.
    grown_at: Option<i64>,
    /// How far each source partition has been read.
    read_source: Vec<i64>,
    /// The facts that have not been forwarded: by where they are written, and the partition that they
    /// belong on.
    misrouted: BTreeMap<(i32, i64, i32), usize>,
    /// The facts that ingest has not brought yet, by where applications wrote them.
    upstream: BTreeMap<(i32, i64), usize>,
    /// Where the copies of events are that were forwarded again.
    repeated: BTreeSet<String>,
    /// When the sessions of a partition were last taken as active.
    assumed: Vec<i64>,
    /// Partitions of which records have been deleted.
    deleted: Vec<bool>,
}

type Verdict = Result<(), String>;

impl Oracle {
    pub(crate) fn new(settings: Settings) -> Self {
        let partitions = index(settings.partitions);
        Self {
            settings,
            facts: Vec::new(),
            endings: Vec::new(),
            event_ids: BTreeSet::new(),
            warnings: BTreeSet::new(),
            dead: BTreeMap::new(),
            read: [0; 3],
            is_disturbed: false,
            held: BTreeSet::new(),
            reset_at: BTreeMap::new(),
            grown_at: None,
            read_source: vec![0; partitions],
            misrouted: BTreeMap::new(),
            upstream: BTreeMap::new(),
            repeated: BTreeSet::new(),
            assumed: vec![i64::MIN; partitions],
            deleted: vec![false; partitions],
        }
    }

    /// Something has been written to the source topic.
    pub(crate) fn learn(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            if let Some(place) = fact.upstream {
                self.upstream
                    .insert((place.partition, place.offset), self.facts.len());
            }
            if fact.is_misrouted() {
                let place = (fact.origin.partition, fact.origin.offset, fact.partition);
                self.misrouted.insert(place, self.facts.len());
            }
            self.facts.push(fact);
        }
    }

    /// Partitions have been added to the source topic.
    pub(crate) fn grown(&mut self, now: i64) {
        self.grown_at.get_or_insert(now);
    }

    /// Whether outputs may be written again, as readers that drop repeated event ids expect.
    fn may_repeat(&self) -> bool {
        self.settings.delivery == Delivery::AtLeastOnce
    }

    /// Whether trackers must wait for an event before a watermark passes it.
    fn is_awaited(&self, fact: &Fact) -> bool {
        let has_grown = self.grown_at.is_some_and(|at| at <= fact.appended);
        !fact.is_misrouted() || !self.settings.keyed || has_grown
    }

    /// Retention is about to delete what lies before `start`.
    pub(crate) fn deleting(&mut self, cluster: &Cluster, partition: i32, start: i64) {
        let committed = cluster.last_offset(partition);
        if let Some(deleted) = self.deleted.get_mut(index(partition)) {
            *deleted = true;
        }
        for fact in &mut self.facts {
            let here = fact.offset.filter(|_| fact.partition == partition);
            let gone = here.is_some_and(|offset| offset < start);
            fact.deleted |= gone;
            fact.lost |= gone && here >= Some(committed);
            let unread = (committed..start).contains(&fact.origin.offset);
            fact.lost |= fact.is_misrouted() && fact.origin.partition == partition && unread;
        }
    }

    /// A restore took the sessions of a partition as active at `now`.
    pub(crate) fn degraded(&mut self, partition: i32, why: &str, now: i64) -> Verdict {
        let Some(assumed) = self.assumed.get_mut(index(partition)) else {
            return Err(format!("sessions on the added partition {partition}"));
        };
        *assumed = now.max(*assumed);
        if self.deleted[index(partition)] {
            return Ok(());
        }
        Err(format!(
            "partition {partition} was restored without reason as if activity were lost: {why}"
        ))
    }

    /// Checks what has become visible since it was last asked.
    pub(crate) fn observe(&mut self, cluster: &mut Cluster, rules: &Rules) -> Verdict {
        if let Some(violation) = cluster.violation.take() {
            return Err(violation);
        }
        self.observe_ingest(cluster)?;
        self.observe_forwards(cluster)?;
        while let Some(record) = cluster.ended.next(self.read[0]) {
            self.read[0] = record.offset + 1;
            let event = record.value.as_deref().unwrap_or_default();
            let event: SessionEnded =
                serde_json::from_slice(event).map_err(|error| error.to_string())?;
            if self.may_repeat() && !self.event_ids.insert(event.event_id) {
                continue;
            }
            let ending = self.identify(event, cluster.now)?;
            self.check_ending(&ending, cluster, rules)?;
            self.endings.push(ending);
        }
        while let Some(record) = cluster.expiring.next(self.read[1]) {
            self.read[1] = record.offset + 1;
            let event = record.value.as_deref().unwrap_or_default();
            let event: SessionExpiring =
                serde_json::from_slice(event).map_err(|error| error.to_string())?;
            let once = (event.event_id, event.policy.generation);
            let is_new = self.warnings.insert(once) || self.may_repeat();
            if !is_new && !self.may_be_warned_again(&event.session_id) {
                return Err(format!("warned twice of the same deadline: {event:?}"));
            }
        }
        while let Some(record) = cluster.dead.next(self.read[2]) {
            self.read[2] = record.offset + 1;
            let origin = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
            let may_repeat = self.may_repeat();
            let count = self.dead.entry(origin.clone().into_owned()).or_default();
            *count += 1;
            if *count > 1 && !may_repeat {
                return Err(format!("two dead letters of {origin}"));
            }
        }
        Ok(())
    }

    /// Checks that each misrouted event is forwarded once, to where it belongs.
    fn observe_forwards(&mut self, cluster: &Cluster) -> Verdict {
        let may_repeat = self.may_repeat();
        self.read_source.resize(cluster.source.len(), 0);
        for (partition, read) in (0_i32..).zip(&mut self.read_source) {
            while let Some(record) = cluster.log(Place::Source(partition)).next(*read) {
                *read = record.offset + 1;
                let mark = Forwarded::decode(record.key.as_deref());
                let Some(origin) = mark.and_then(|mark| mark.origin) else {
                    continue;
                };
                let place = (origin.partition, origin.offset, partition);
                let Some(number) = self.misrouted.remove(&place) else {
                    if may_repeat || self.reset_at.contains_key(&origin.partition) {
                        // It was read again.
                        let place = format!("{partition}/{}", record.offset);
                        self.repeated.insert(place);
                        continue;
                    }
                    return Err(format!("forwarded twice, or needlessly: {record:?}"));
                };
                self.facts[number].offset = Some(record.offset);
            }
        }
        Ok(())
    }

    /// Whether a misrouted event may count as late (`docs/decisions/forwarding.md`): it was forwarded after
    /// an event of its session that is an idle timeout behind it, or after a later logout.
    fn is_forwarded_late(&self, fact: &Fact, rules: &Rules) -> bool {
        let session = fact.session.as_deref().unwrap_or_default();
        self.is_late_for(fact, session, rules)
    }

    /// The sessions for which a misrouted event may count as late: that of the event, or any if it is about
    /// all sessions of a user.
    fn forwarded_late<'a>(&'a self, fact: &'a Fact, rules: &Rules) -> BTreeSet<&'a str> {
        let of_user = fact.session.is_none() && fact.is_forwarded();
        let here = |other: &&Fact| of_user && other.partition == fact.partition;
        let others = self.facts.iter().filter(here);
        let sessions = others.chain([fact]);
        let sessions: BTreeSet<_> = sessions.filter_map(|it| it.session.as_deref()).collect();
        let late = |session: &&str| self.is_late_for(fact, session, rules);
        sessions.into_iter().filter(late).collect()
    }

    fn is_late_for(&self, fact: &Fact, session: &str, rules: &Rules) -> bool {
        if !fact.is_forwarded() || !self.is_awaited(fact) {
            return fact.is_misrouted();
        }
        let lateness = self.settings.allowed_lateness;
        let precludes = |other: &Fact| {
            let read_before = fact.offset.is_none_or(|offset| other.offset < Some(offset));
            let behind = other.latest - fact.earliest;
            let ends = fact.is_end() || other.is_end();
            let is_late = behind >= rules.shortest() || ends && behind > lateness;
            other.offset.is_some() && read_before && is_late
        };
        self.concerning(fact.partition, session).any(precludes)
    }

    /// Finds out which session an event is about.
    fn identify(&self, event: SessionEnded, seen_at: i64) -> Result<Ending, String> {
        let about = |fact: &&Fact| fact.session.as_ref() == Some(&event.session_id);
        let Some(fact) = self.facts.iter().find(about) else {
            return Err(format!("a session that no event named: {event:?}"));
        };
        let id = event.event_id;
        let ending = Ending::new(event, fact.partition, seen_at);
        if id != event_id(&ending) {
            return Err(format!("an event id that is not the session's: {ending:?}"));
        }
        Ok(ending)
    }

    /// Whether the session's deadline may have moved on and back again, by its falling
    /// under one policy and then another.
    fn may_be_warned_again(&self, session: &str) -> bool {
        let about = |fact: &&Fact| fact.session.as_deref() == Some(session);
        let mut facts = self.facts.iter().filter(about);
        self.is_disturbed || facts.any(|fact| fact.describes)
    }

    /// The facts about a session id of a partition, in the order of the log.
    fn about<'a>(
        &'a self,
        partition: i32,
        session: &'a str,
    ) -> impl Iterator<Item = &'a Fact> + Clone {
        let here = move |fact: &&Fact| fact.partition == partition;
        let about = move |fact: &&Fact| fact.session.as_deref() == Some(session);
        self.facts.iter().filter(here).filter(about)
    }

    /// The facts about a session, and those about all sessions of a user.
    fn concerning<'a>(
        &'a self,
        partition: i32,
        session: &'a str,
    ) -> impl Iterator<Item = &'a Fact> + Clone {
        let here = move |fact: &&Fact| fact.partition == partition && !fact.garbage;
        let about = move |fact: &&Fact| {
            let everywhere = fact.session.is_none();
            everywhere || fact.session.as_deref() == Some(session)
        };
        self.facts.iter().filter(here).filter(about)
    }
}

fn aborted(cluster: &Cluster, fact: &Fact) -> bool {
    let log = cluster.log(Place::Source(fact.origin.partition));
    fact.txn.is_some_and(|txn| log.aborted(txn))
}

fn event_id(ending: &Ending) -> Uuid {
    let (reason, time) = (ending.reason.as_str(), ending.start());
    let name = format!("{reason}/{time}/{}", ending.session);
    Uuid::new_v5(&EVENT_IDS, name.as_bytes())
}

fn timed_out(reason: EndReason) -> bool {
    matches!(reason, EndReason::IdleTimeout | EndReason::AbsoluteTimeout)
}
