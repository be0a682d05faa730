//! The table under test, and the log and the checkpoint topic around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sundown_session::table::TableConfig;
use sundown_session::{
    Applied, Attributes, Effect, Event, Glob, LoggedEvent, Matcher, Policy, PolicySet,
    Record as CheckpointRecord, RecordKey, SessionTable, Span, Subject, Timestamp, UserId, UserRef,
};

use crate::generate::{Act, Record, Scenario};
use crate::values::{self, Output, Rule, Settings, User, Verdict};

/// The outputs of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) outputs: Vec<Output>,
}

/// What a transaction committed, besides its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) position: i64,
    pub(crate) replay_from: i64,
    pub(crate) watermark: Timestamp,
}

/// A table with its log and checkpoint topic.
pub(crate) struct Tracker {
    settings: Settings,
    hash_key: (u64, u64),
    fallback: Rule,
    policies: Arc<PolicySet>,
    pub(crate) table: SessionTable,
    /// Every event so far: the source partition.
    log: Vec<Record>,
    /// The checkpoint topic, compacted.
    pub(crate) checkpoints: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) committed: Committed,
    /// Every record written to it: key, and value unless it is a tombstone.
    pub(crate) checkpoint_log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Tracker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let policies = policy_set(&scenario.rules, &scenario.fallback);
        let config = config(scenario.settings, scenario.hash_key);
        Self {
            settings: scenario.settings,
            hash_key: scenario.hash_key,
            fallback: scenario.fallback.clone(),
            table: SessionTable::new(config, Arc::clone(&policies), Timestamp::MIN),
            policies,
            log: Vec::new(),
            checkpoints: BTreeMap::new(),
            committed: Committed {
                position: 0,
                replay_from: 0,
                watermark: Timestamp::MIN,
            },
            checkpoint_log: Vec::new(),
        }
    }

    /// Lets `act` happen. A crash is up to the caller.
    pub(crate) fn act(&mut self, act: &Act) -> Outcome {
        match act {
            Act::Event(record) => {
                self.log.push(record.clone());
                self.apply(record)
            }
            Act::Advance { watermark, limit } => self.advance(*watermark, *limit),
            Act::Policies(rules) => {
                self.policies = policy_set(rules, &self.fallback);
                self.table.set_policies(Arc::clone(&self.policies));
                Outcome::default()
            }
            Act::Commit {
                position,
                now,
                limit,
                ..
            } => {
                self.commit(*position, *now, *limit);
                Outcome::default()
            }
        }
    }

    /// The same for acts that are all events or only one: events come in one burst.
    pub(crate) fn act_at_once(&mut self, acts: &[Act]) -> (Vec<Verdict>, Vec<Output>) {
        if let [act] = acts {
            let Outcome { verdict, outputs } = self.act(act);
            return (verdict.into_iter().collect(), outputs);
        }
        let record = |act| match act {
            Act::Event(record) => record,
            other => panic!("{other:?} in a burst of events"),
        };
        let records: Vec<Record> = acts.iter().cloned().map(record).collect();
        let attributes: Vec<_> = records.iter().map(|r| attributes_of(&r.event)).collect();
        let events: Vec<LoggedEvent<'_>> = records
            .iter()
            .zip(&attributes)
            .map(|(record, attributes)| LoggedEvent {
                event: borrow(&record.event, attributes.as_ref()),
                offset: record.offset,
                record_timestamp: Timestamp::from_millis(record.timestamp),
            })
            .collect();
        let (mut effects, mut verdicts) = (Vec::new(), Vec::new());
        self.table
            .apply_all(&events, &mut effects, |place, applied| {
                assert_eq!(place, verdicts.len());
                verdicts.push(verdict(applied));
            });
        self.log.extend(records);
        (verdicts, effects.into_iter().map(output).collect())
    }

    /// How many sessions live under each policy, by its name; none is not mentioned.
    pub(crate) fn policy_counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (policy, sessions) in self.table.sessions_by_policy() {
            if sessions > 0 {
                *counts.entry(policy.name.as_str()).or_default() += sessions;
            }
        }
        counts
    }

    /// Loses the table and builds it again from what was committed.
    pub(crate) fn restore(&mut self) {
        self.restore_checkpoints();
        let replayed = self.committed.replay_from..self.committed.position;
        for record in &self.log {
            if replayed.contains(&record.offset) {
                let attributes = attributes_of(&record.event);
                let event = borrow(&record.event, attributes.as_ref());
                let timestamp = Timestamp::from_millis(record.timestamp);
                self.table.replay(&event, record.offset, timestamp);
            }
        }
    }

    /// The live sessions of the last commit: ids and starts.
    pub(crate) fn live_sessions(&self) -> Vec<(String, Option<i64>)> {
        let records = self
            .checkpoints
            .iter()
            .map(|(key, value)| decode(key, value));
        let live = records.filter_map(|record| match record {
            CheckpointRecord::Session(record) => {
                let started_at = record.live?.started_at.as_millis();
                Some((record.session.to_string(), Some(started_at)))
            }
            CheckpointRecord::CutOff(_) => None,
        });
        live.collect()
    }

    /// The same, but other policies are active afterwards.
    pub(crate) fn restore_under(&mut self, rules: &[Rule]) {
        self.policies = policy_set(rules, &self.fallback);
        self.restore();
    }

    /// The same where the log from `replay_from` on is gone.
    pub(crate) fn restore_without_log(&mut self, assumed_active_at: i64) {
        self.restore_checkpoints();
        let at = Timestamp::from_millis(assumed_active_at);
        self.table.assume_active(at, self.committed.replay_from);
    }

    /// One past the last offset applied.
    pub(crate) fn position(&self) -> i64 {
        self.log.last().map_or(0, |record| record.offset + 1)
    }

    fn restore_checkpoints(&mut self) {
        let config = config(self.settings, self.hash_key);
        let watermark = self.committed.watermark;
        self.table = SessionTable::new(config, Arc::clone(&self.policies), watermark);
        for (key, value) in &self.checkpoints {
            self.table.restore(decode(key, value));
        }
    }

    fn apply(&mut self, record: &Record) -> Outcome {
        let attributes = attributes_of(&record.event);
        let mut effects = Vec::new();
        let applied = self.table.apply(
            borrow(&record.event, attributes.as_ref()),
            record.offset,
            Timestamp::from_millis(record.timestamp),
            &mut effects,
        );
        Outcome {
            verdict: Some(verdict(applied)),
            outputs: effects.into_iter().map(output).collect(),
        }
    }

    fn advance(&mut self, watermark: i64, limit: usize) -> Outcome {
        let watermark = Timestamp::from_millis(watermark);
        let mut effects = Vec::new();
        let mut calls = 0;
        while self.table.advance(watermark, limit, &mut effects) {
            calls += 1;
            assert!(calls < 10_000, "it gets somewhere");
        }
        Outcome {
            verdict: None,
            outputs: effects.into_iter().map(output).collect(),
        }
    }

    fn commit(&mut self, position: i64, now: i64, limit: usize) {
        let mut effects = Vec::new();
        let now = Timestamp::from_millis(now);
        self.table.flush(position, now, limit, &mut effects);
        let mut written = BTreeSet::new();
        for effect in effects {
            let (id, value) = checkpoint_record(effect);
            assert!(written.insert(id.clone()), "the last state of {id:?} alone");
            let old = match value.clone() {
                Some(value) => self.checkpoints.insert(id.clone(), value),
                None => self.checkpoints.remove(&id),
            };
            assert!(old.is_some() || value.is_some(), "{id:?} had no record");
            self.checkpoint_log.push((id, value));
        }
        let replay_from = self.table.replay_from(position);
        assert!(replay_from <= position);
        self.committed = Committed {
            position,
            replay_from,
            watermark: self.table.watermark(),
        };
    }
}

fn decode(key: &[u8], value: &[u8]) -> CheckpointRecord {
    CheckpointRecord::decode(RecordKey::decode(key).unwrap(), value).unwrap()
}

fn config(settings: Settings, hash_key: (u64, u64)) -> TableConfig {
    TableConfig {
        allowed_lateness: Span::from_millis(settings.allowed_lateness),
        max_future_skew: Span::from_millis(settings.max_future_skew),
        slack: Span::from_millis(settings.slack),
        max_sessions: settings.max_sessions,
        // Longer than any scenario: forgetting depends on when the watermark moves.
        remember_endings: Span::from_millis(i64::MAX / 4),
        end_grace: Span::from_millis(3 * settings.allowed_lateness),
        hash_key,
        ..TableConfig::default()
    }
}

fn policy_set(rules: &[Rule], fallback: &Rule) -> Arc<PolicySet> {
    let policies = rules.iter().map(policy).collect();
    Arc::new(PolicySet::new(policies, policy(fallback)).unwrap())
}

fn policy(rule: &Rule) -> Policy {
    Policy {
        name: rule.name.clone(),
        generation: rule.generation,
        priority: rule.priority,
        idle_timeout: Span::from_millis(rule.idle),
        absolute_timeout: rule.absolute.map(Span::from_millis),
        warn_before: rule.warn_before.map(Span::from_millis),
        matcher: Matcher {
            attributes: attributes(&rule.attributes),
            user_ids: rule.users.iter().map(|glob| Glob::new(glob)).collect(),
        },
        max_sessions: None,
        suspend: rule.suspend,
    }
}

fn attributes(pairs: &values::Attributes) -> Attributes {
    Attributes::new(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap()
}

fn attributes_of(event: &values::Event) -> Option<Attributes> {
    event.attributes.as_ref().map(attributes)
}

fn borrow<'a>(event: &'a values::Event, attributes: Option<&'a Attributes>) -> Event<'a> {
    let user = event.user.as_ref().map(|(text, number)| UserRef {
        text,
        number: *number,
    });
    Event {
        subject: match (&event.session, user) {
            (Some(id), user) => Subject::Session { id, user },
            (None, user) => Subject::AllSessionsOf {
                user: user.unwrap(),
                except: None,
            },
        },
        at: Timestamp::from_millis(event.at),
        kind: event.kind,
        attributes,
        initiator: None,
    }
}

/// Key and value; no value for a tombstone.
fn checkpoint_record(effect: Effect) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = Vec::new();
    match effect {
        Effect::Store(record) => {
            let mut value = Vec::new();
            record.key().encode(&mut key);
            record.encode(&mut value);
            (key, Some(value))
        }
        Effect::Forget(forgotten) => {
            forgotten.encode(&mut key);
            (key, None)
        }
        other => panic!("a flush writes checkpoints alone, not {other:?}"),
    }
}

fn verdict(applied: Applied) -> Verdict {
    match applied {
        Applied::Accepted => Verdict::Accepted,
        Applied::Late => Verdict::Late,
        Applied::AlreadyEnded => Verdict::AlreadyEnded,
        Applied::InFlight => Verdict::InFlight,
        Applied::Stale => Verdict::Stale,
        Applied::Refused => Verdict::Refused,
    }
}

fn output(effect: Effect) -> Output {
    let user = |user: UserId| -> User { (user.text.to_string(), user.number) };
    let plain = |attributes: Option<Attributes>| {
        let owned = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        attributes
            .iter()
            .flat_map(Attributes::iter)
            .map(owned)
            .collect()
    };
    match effect {
        Effect::Ended(ending) => Output::Ended {
            session: ending.session.to_string(),
            user: ending.user.map(user),
            reason: ending.reason,
            policy: (ending.policy.name.clone(), ending.policy.generation),
            started_at: ending.started_at.map(Timestamp::as_millis),
            last_activity: ending.last_activity.map(Timestamp::as_millis),
            ended_at: ending.ended_at.as_millis(),
            attributes: plain(ending.attributes),
        },
        Effect::Expiring(warning) => Output::Expiring {
            session: warning.session.to_string(),
            user: user(warning.user),
            reason: warning.reason,
            policy: (warning.policy.name.clone(), warning.policy.generation),
            last_activity: warning.last_activity.as_millis(),
            deadline: warning.deadline.as_millis(),
            started_at: warning.started_at.as_millis(),
            attributes: plain(warning.attributes),
        },
        other => panic!("only a flush writes checkpoints: {other:?}"),
    }
}
