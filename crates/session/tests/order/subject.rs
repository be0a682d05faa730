//! The table under test, with its log and checkpoint topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use sundown_session::table::TableConfig;
use sundown_session::{
    Attributes, Effect, EndReason, Event, EventKind, Matcher, Policy, PolicySet, Record, RecordKey,
    SessionTable, Span, Subject, Timestamp, UserRef,
};

use crate::model::{self, Ending, Kind, Reason, Target, Timeouts};

/// A terminal event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndedSession {
    pub(crate) ending: Ending,
    pub(crate) started_at: Option<i64>,
}

impl EndedSession {
    pub(crate) fn event_id_inputs(&self) -> (&str, i64, Reason) {
        let time = self.started_at.unwrap_or(self.ending.ended_at);
        (&self.ending.session, time, self.ending.reason)
    }
}

pub(crate) struct Tracker {
    pub(crate) table: SessionTable,
    pub(crate) ended: Vec<EndedSession>,
    config: TableConfig,
    policies: Arc<PolicySet>,
    /// The source partition: each record's offset is its place.
    log: Vec<(model::Event, i64)>,
    checkpoints: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Tracker {
    pub(crate) fn new(lateness: i64, grace: i64) -> Self {
        let config = TableConfig {
            allowed_lateness: Span::from_millis(lateness),
            end_grace: Span::from_millis(grace),
            // Longer than any history: forgetting depends on the watermark.
            remember_endings: Span::from_millis(1_000_000_000),
            slack: Span::from_millis(1_000_000),
            ..TableConfig::default()
        };
        let policies = policy_set(&Timeouts {
            by_tenant: BTreeMap::new(),
            max_sessions: None,
        });
        Self {
            table: SessionTable::new(config.clone(), Arc::clone(&policies), Timestamp::MIN),
            ended: Vec::new(),
            config,
            policies,
            log: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, event: &model::Event, arrival: i64) {
        let offset = i64::try_from(self.log.len()).unwrap();
        self.log.push((event.clone(), arrival));
        let mut effects = Vec::new();
        let attributes = attributes(event);
        let timestamp = Timestamp::from_millis(arrival);
        self.table
            .apply(borrow(event, &attributes), offset, timestamp, &mut effects);
        self.collect(effects);
    }

    pub(crate) fn advance(&mut self, watermark: i64) {
        let mut effects = Vec::new();
        while self
            .table
            .advance(Timestamp::from_millis(watermark), 2, &mut effects)
        {}
        self.collect(effects);
    }

    pub(crate) fn set_timeouts(&mut self, timeouts: &Timeouts) {
        self.policies = policy_set(timeouts);
        self.table.set_policies(Arc::clone(&self.policies));
    }

    pub(crate) fn commit(&mut self) -> i64 {
        let position = i64::try_from(self.log.len()).unwrap();
        let mut effects = Vec::new();
        self.table.flush(
            position,
            Timestamp::from_millis(0),
            usize::MAX,
            &mut effects,
        );
        for effect in effects {
            match effect {
                Effect::Store(record) => {
                    let mut value = Vec::new();
                    record.encode(&mut value);
                    self.checkpoints.insert(key_bytes(&record.key()), value);
                }
                Effect::Forget(key) => drop(self.checkpoints.remove(&key_bytes(&key))),
                other => panic!("{other:?} in a flush"),
            }
        }
        self.table.replay_from(position)
    }

    /// Commits, loses the table and restores it from the bytes of its records and the log.
    pub(crate) fn cut(&mut self) {
        let replay_from = usize::try_from(self.commit()).unwrap();
        let watermark = self.table.watermark();
        self.table = SessionTable::new(self.config.clone(), Arc::clone(&self.policies), watermark);
        for (key, value) in &self.checkpoints {
            let key = RecordKey::decode(key).unwrap();
            self.table.restore(Record::decode(key, value).unwrap());
        }
        for (offset, (event, arrival)) in (0..).zip(&self.log).skip(replay_from) {
            let attributes = attributes(event);
            self.table.replay(
                &borrow(event, &attributes),
                offset,
                Timestamp::from_millis(*arrival),
            );
        }
    }

    fn collect(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Ended(ending) = effect else {
                continue;
            };
            self.ended.push(EndedSession {
                ending: Ending {
                    session: ending.session.to_string(),
                    reason: reason(ending.reason),
                    ended_at: ending.ended_at.as_millis(),
                },
                started_at: ending.started_at.map(Timestamp::as_millis),
            });
        }
    }
}

fn policy_set(timeouts: &Timeouts) -> Arc<PolicySet> {
    let never = Policy {
        suspend: true,
        ..Policy::built_in(Span::from_millis(1), None)
    };
    let max_sessions = timeouts.max_sessions.map(|max| u32::try_from(max).unwrap());
    let policies = timeouts
        .by_tenant
        .iter()
        .map(|(tenant, (idle, absolute))| Policy {
            name: tenant.clone(),
            priority: 0,
            max_sessions,
            matcher: Matcher {
                attributes: Attributes::new([("tenant", tenant.as_str())]).unwrap(),
                user_ids: Vec::new(),
            },
            ..Policy::built_in(Span::from_millis(*idle), absolute.map(Span::from_millis))
        });
    Arc::new(PolicySet::new(policies.collect(), never).unwrap())
}

fn key_bytes(key: &RecordKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// The attributes of a session, or those that a target has to have.
fn attributes(event: &model::Event) -> Attributes {
    let tenant = match &event.target {
        Target::Session { tenant, .. } => Some(tenant),
        Target::Match { tenant } => tenant.as_ref(),
        Target::User { .. } => None,
    };
    Attributes::new(tenant.map(|tenant| ("tenant", tenant.as_str()))).unwrap()
}

fn borrow<'a>(event: &'a model::Event, attributes: &'a Attributes) -> Event<'a> {
    let user_ref = |text| UserRef {
        text,
        number: false,
    };
    let subject = match &event.target {
        Target::Session { id, user, .. } => Subject::Session {
            id,
            user: Some(user_ref(user)),
        },
        Target::User { user, except } => Subject::AllSessionsOf {
            user: user_ref(user),
            except: except.as_deref(),
        },
        Target::Match { .. } => Subject::Matching { attributes },
    };
    let kind = match event.kind {
        Kind::Activity => EventKind::Activity,
        Kind::Login => EventKind::Login,
        Kind::Logout => EventKind::Logout,
        Kind::Revoke => EventKind::Revoke,
        Kind::Rotated => EventKind::Rotated,
    };
    Event {
        subject,
        at: Timestamp::from_millis(event.at),
        kind,
        attributes: matches!(event.target, Target::Session { .. }).then_some(attributes),
        initiator: None,
    }
}

fn reason(reason: EndReason) -> Reason {
    match reason {
        EndReason::IdleTimeout => Reason::Idle,
        EndReason::AbsoluteTimeout => Reason::Absolute,
        EndReason::Logout => Reason::Logout,
        EndReason::Revoked => Reason::Revoked,
        EndReason::Rotated => Reason::Rotated,
        EndReason::SessionLimit => Reason::SessionLimit,
    }
}
