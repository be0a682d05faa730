//! The table under test, with its log and checkpoint topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use sundown_session::table::TableConfig;
use sundown_session::{
    Attributes, Checkpoint, Effect, Event, EventKind, Matcher, Packed, Policy, PolicySet,
    SessionTable, Span, Subject, Timestamp, UserRef,
};

use crate::model::{self, Ending, Kind, Reason, Target, Timeouts};

/// A terminal event.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    checkpoints: BTreeMap<String, Vec<u8>>,
}

impl Tracker {
    pub(crate) fn new(lateness: i64, _grace: i64) -> Self {
        let config = TableConfig {
            allowed_lateness: Span::from_millis(lateness),
            slack: Span::from_millis(1_000_000),
            ..TableConfig::default()
        };
        let policies = policy_set(&Timeouts(BTreeMap::new()));
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
                Effect::Store(checkpoint) => {
                    let mut value = Vec::new();
                    checkpoint.encode(&mut value);
                    self.checkpoints
                        .insert(checkpoint.session.to_string(), value);
                }
                Effect::Forget(id) => drop(self.checkpoints.remove(&id.to_string())),
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
        for (id, value) in &self.checkpoints {
            self.table
                .restore(Checkpoint::decode(Packed::new(id), value).unwrap());
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
    let policies = timeouts.0.iter().map(|(tenant, (idle, absolute))| Policy {
        name: tenant.clone(),
        priority: 0,
        matcher: Matcher {
            attributes: Attributes::new([("tenant", tenant.as_str())]).unwrap(),
            user_ids: Vec::new(),
        },
        ..Policy::built_in(Span::from_millis(*idle), absolute.map(Span::from_millis))
    });
    Arc::new(PolicySet::new(policies.collect(), never).unwrap())
}

fn attributes(event: &model::Event) -> Option<Attributes> {
    let Target::Session { tenant, .. } = &event.target else {
        return None;
    };
    Some(Attributes::new([("tenant", tenant.as_str())]).unwrap())
}

fn borrow<'a>(event: &'a model::Event, attributes: &'a Option<Attributes>) -> Event<'a> {
    let user_ref = |text| UserRef {
        text,
        number: false,
    };
    let subject = match &event.target {
        Target::Session { id, user, .. } => Subject::Session {
            id,
            user: Some(user_ref(user)),
        },
        Target::User { user, except: None } => Subject::AllSessionsOf(user_ref(user)),
        other => panic!("the event API cannot express {other:?} yet"),
    };
    let kind = match event.kind {
        Kind::Activity => EventKind::Activity,
        Kind::Login => EventKind::Login,
        Kind::Logout => EventKind::Logout,
        Kind::Revoke => EventKind::Revoke,
        Kind::Rotated => panic!("the event API cannot express rotations yet"),
    };
    Event {
        subject,
        at: Timestamp::from_millis(event.at),
        kind,
        attributes: attributes.as_ref(),
    }
}

fn reason(reason: sundown_session::Reason) -> Reason {
    match reason {
        sundown_session::Reason::IdleTimeout => Reason::Idle,
        sundown_session::Reason::AbsoluteTimeout => Reason::Absolute,
        sundown_session::Reason::Logout => Reason::Logout,
        sundown_session::Reason::Revoked => Reason::Revoked,
    }
}
