//! The same events through two session tables, one under each set of policies, in step.
//!
//! A session is what starts with one event: the same in both tables if it starts with the
//! same. It may be over in one and go on in the other, where the next event of its id
//! starts no new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{Difference, Fate, Report, Side};
use crate::session::{
    Effect, Ending, Event, Lookup, PolicySet, SessionTable, TableConfig, Timestamp,
};
use crate::wire::event::decode::{DecodeLimits, decode};
use crate::wire::record::{TimestampKind, record_time};

/// How many events may leave their traces for the checkpoint topic before these are
/// thrown away.
const TRACES: u64 = 10_000;
/// How many sessions end in one go.
const BURST: usize = 10_000;

/// A record to replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    /// Its place: rises within a partition.
    pub(super) offset: i64,
    /// Its timestamp and whose that is; without one, it counts as written when it
    /// happened.
    pub(super) timestamp: Option<(Timestamp, TimestampKind)>,
    /// What it says.
    pub(super) value: Option<&'a [u8]>,
}

/// A replay under way.
pub(super) struct Replay {
    policies: [Arc<PolicySet>; 2],
    config: TableConfig,
    until: Timestamp,
    partitions: BTreeMap<i32, Pair>,
    report: Report,
}

/// One partition's tables, under the policies tried out and under the current ones.
struct Pair {
    tables: [SessionTable; 2],
    /// Sessions that are over in one table, and live in the other; by their first offset.
    half: BTreeMap<SessionKey, Half>,
    traces: u64,
}

struct Half {
    /// The table in which it is over.
    table: usize,
    ending: Box<Ending>,
}

impl Replay {
    pub(super) fn new(
        simulated: Arc<PolicySet>,
        current: Arc<PolicySet>,
        config: TableConfig,
        until: Timestamp,
        limit: usize,
    ) -> Self {
        Self {
            policies: [simulated, current],
            config,
            until,
            partitions: BTreeMap::new(),
            report: Report::new(until, limit),
        }
    }

    /// Replays a record.
    pub(super) fn feed(&mut self, partition: i32, sample: &Sample<'_>) {
        let until = self.until;
        if sample
            .timestamp
            .is_some_and(|(at, _)| at > until && at < Timestamp::MAX)
        {
            return;
        }
        let pair = self.partitions.entry(partition).or_insert_with(|| Pair {
            tables: [0, 1].map(|table: usize| {
                let policies = Arc::clone(&self.policies[table]);
                SessionTable::new(self.config.clone(), policies, Timestamp::MIN)
            }),
            half: BTreeMap::new(),
            traces: 0,
        });
        // The brokers' clock: all that was appended before has been read. Other clocks,
        // or none, prove nothing; then only the session's own events do.
        if let Some((at, TimestampKind::LogAppendTime)) = sample.timestamp {
            pair.advance(at, &mut self.report);
        }
        let record_time = sample.timestamp.and_then(|(at, _)| record_time(at, until));
        let Ok(decoded) = decode(sample.value, record_time, &DecodeLimits::default()) else {
            self.report.unusable += 1;
            return;
        };
        let event = decoded.event();
        if sample.timestamp.is_none() && event.at > until {
            return;
        }
        let timestamp = record_time.unwrap_or(until);
        pair.apply(event, sample.offset, timestamp, &mut self.report);
        self.report.events += 1;
    }

    /// What it came to by the moment to stop at.
    pub(super) fn finish(mut self) -> Report {
        for pair in self.partitions.values_mut() {
            pair.advance(self.until, &mut self.report);
            for half in std::mem::take(&mut pair.half).into_values() {
                self.report.note(Outcome::Half(half, Fate::Live));
            }
            let sides = [&mut self.report.simulated, &mut self.report.current];
            for (table, side) in pair.tables.iter_mut().zip(sides) {
                side.close(table);
            }
        }
        self.report
            .differences
            .sort_by_key(|difference| difference.at);
        self.report
    }
}

/// What has become clear of a session.
enum Outcome<'a> {
    /// It has ended in this table.
    Ended(usize, &'a Ending),
    /// It has ended in both: the endings.
    Both(Box<Ending>, Box<Ending>),
    /// It has ended in one alone, and in the other it fares like this.
    Half(Half, Fate),
}

impl Report {
    fn note(&mut self, outcome: Outcome<'_>) {
        let difference = match outcome {
            Outcome::Ended(table, ending) => {
                let sides = [&mut self.simulated, &mut self.current];
                sides[table].ended(ending);
                return;
            }
            Outcome::Both(simulated, current) => {
                if (simulated.reason, simulated.ended_at) == (current.reason, current.ended_at) {
                    return;
                }
                let first = if simulated.ended_at <= current.ended_at {
                    &simulated
                } else {
                    &current
                };
                Difference::new(first, Fate::of(&simulated), Fate::of(&current))
            }
            Outcome::Half(Half { table: 0, ending }, other) => {
                Difference::new(&ending, Fate::of(&ending), other)
            }
            Outcome::Half(Half { ending, .. }, other) => {
                Difference::new(&ending, other, Fate::of(&ending))
            }
        };
        self.different += 1;
        if self.differences.len() < self.limit {
            self.differences.push(difference);
        }
    }
}

/// The id and the start of a session.
type SessionKey = (String, Timestamp);

impl Pair {
    /// Everything that was appended before `to` has been applied.
    fn advance(&mut self, to: Timestamp, report: &mut Report) {
        let mut effects = [Vec::new(), Vec::new()];
        for (table, effects) in self.tables.iter_mut().zip(&mut effects) {
            while table.advance(to, BURST, effects) {}
        }
        self.match_endings(effects, report);
    }

    fn apply(&mut self, event: Event<'_>, offset: i64, timestamp: Timestamp, report: &mut Report) {
        let mut effects = [Vec::new(), Vec::new()];
        for (table, effects) in self.tables.iter_mut().zip(&mut effects) {
            table.apply(event, offset, timestamp, effects);
        }
        self.match_endings(effects, report);
        self.traces += 1;
        if self.traces == TRACES {
            self.traces = 0;
            for table in &mut self.tables {
                table.flush(offset + 1, Timestamp::MIN, 0, &mut Vec::new());
            }
        }
    }

    /// Matches the endings of one table with those of the other. Both have seen the same
    /// by now: what is over in one alone is live in the other, or never was there.
    fn match_endings(&mut self, effects: [Vec<Effect>; 2], report: &mut Report) {
        let mut new = Vec::new();
        for (table, effects) in effects.into_iter().enumerate() {
            for effect in effects {
                let Effect::Ended(ending) = effect else {
                    continue;
                };
                report.note(Outcome::Ended(table, &ending));
                let key = session_key(&ending);
                match self.half.remove(&key) {
                    Some(half) if half.table == 0 => {
                        report.note(Outcome::Both(half.ending, ending));
                    }
                    Some(half) => report.note(Outcome::Both(ending, half.ending)),
                    None => {
                        self.half.insert(key.clone(), Half { table, ending });
                        new.push(key);
                    }
                }
            }
        }
        for key in new {
            let lives = self.half.get(&key).is_none_or(|half| {
                let other = &self.tables[1 - half.table];
                matches!(other.look_up(&key.0), Lookup::Live(live) if live.started_at == key.1)
            });
            if !lives && let Some(half) = self.half.remove(&key) {
                report.note(Outcome::Half(half, Fate::None));
            }
        }
    }
}

fn session_key(ending: &Ending) -> SessionKey {
    (ending.session.to_string(), ending.identifying_time())
}

impl Side {
    /// Takes over what the table counted, and what lives in it.
    fn close(&mut self, table: &mut SessionTable) {
        let counters = table.take_counters();
        self.sessions += counters.started;
        self.late_events += counters.late;
        self.refused_events += counters.refused;
        self.live += table.len() as u64;
    }
}
