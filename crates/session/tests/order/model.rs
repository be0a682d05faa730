//! The rule that defines all endings: sort a session's events by event time, fold them.
//!
//! It shares nothing with the table: no arrival order, no watermark, no timers, no slots. Events of the
//! same time keep their log order; those that end a session come last.

use std::collections::{BTreeMap, BTreeSet};

/// A user action or an administrator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: i64,
    pub(crate) target: Target,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Session {
        id: String,
        user: String,
        tenant: String,
    },
    User {
        user: String,
        except: Option<String>,
    },
    /// All users, if there is no tenant.
    Match { tenant: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Activity,
    Login,
    Logout,
    Revoke,
    Rotated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    Idle,
    Absolute,
    Logout,
    Revoked,
    Rotated,
    SessionLimit,
}

/// Limits of sessions.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// Idle and absolute timeout; the sessions of a tenant without an entry never time out.
    pub(crate) by_tenant: BTreeMap<String, (i64, Option<i64>)>,
    /// How many sessions a user may have in a tenant with an entry.
    pub(crate) max_sessions: Option<usize>,
}

/// Timeouts that apply from a time on. Events keep a distance of two lateness spans to it.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) at: i64,
    pub(crate) timeouts: Timeouts,
}

/// The part of an ending that no arrival order may change.
///
/// `started_at` and `last_activity` may miss events that arrive after a logout has ended the session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ending {
    pub(crate) session: String,
    pub(crate) reason: Reason,
    pub(crate) ended_at: i64,
}

struct Session {
    user: String,
    tenant: String,
    started_at: i64,
    authenticated_at: i64,
    last_activity: i64,
}

/// One session id in the course of time.
struct Fold<'a> {
    id: &'a str,
    grace: i64,
    lateness: i64,
    timeouts: &'a Timeouts,
    live: Option<Session>,
    /// The end of the previous session of the id.
    ended: Option<(Reason, i64)>,
    endings: Vec<Ending>,
}

/// Returns the endings of all sessions after `edits[0]` and all later edits, up to the end of time.
pub(crate) fn endings(events: &[Event], edits: &[Edit], grace: i64, lateness: i64) -> Vec<Ending> {
    let mut sorted: Vec<&Event> = events.iter().collect();
    // Stable: ties keep the order of the log.
    sorted.sort_by_key(|event| (event.at, ends(event.kind)));
    let ids: BTreeSet<&str> = events.iter().filter_map(session_id).collect();
    let fold = |id| Fold {
        id,
        grace,
        lateness,
        timeouts: &edits[0].timeouts,
        live: None,
        ended: None,
        endings: Vec::new(),
    };
    let mut all = Folds {
        folds: ids.into_iter().map(fold).collect(),
        checks: BTreeSet::new(),
    };
    let mut later_edits = edits[1..].iter().peekable();
    for event in sorted {
        while let Some(edit) = later_edits.next_if(|edit| edit.at <= event.at) {
            all.edit(edit);
        }
        all.event(event, lateness);
    }
    later_edits.for_each(|edit| all.edit(edit));
    all.check_until(i64::MAX);
    for fold in &mut all.folds {
        fold.time_out(i64::MAX);
    }
    let endings = all.folds.into_iter().flat_map(|fold| fold.endings);
    let mut endings: Vec<Ending> = endings.collect();
    endings.sort();
    endings
}

/// All session ids, in order, and the times at which starts are checked against the limit.
struct Folds<'a> {
    folds: Vec<Fold<'a>>,
    checks: BTreeSet<(i64, usize)>,
}

impl<'a> Folds<'a> {
    fn edit(&mut self, edit: &'a Edit) {
        self.check_until(edit.at);
        for fold in &mut self.folds {
            fold.edit(edit);
        }
    }

    fn event(&mut self, event: &Event, lateness: i64) {
        self.check_until(event.at);
        for (number, fold) in self.folds.iter_mut().enumerate() {
            if session_id(event).is_some_and(|named| named != fold.id) {
                continue;
            }
            fold.event(event);
            if fold
                .live
                .as_ref()
                .is_some_and(|live| live.started_at == event.at)
            {
                self.checks.insert((event.at + lateness, number));
            }
        }
    }

    /// A lateness span after a session has started, its user must not have more than the limit: of those
    /// that started before it, the least recently active end.
    fn check_until(&mut self, now: i64) {
        while let Some(&(at, number)) = self.checks.first().filter(|(at, _)| *at <= now) {
            self.checks.pop_first();
            for fold in &mut self.folds {
                fold.time_out(at);
            }
            let fold = &self.folds[number];
            let started = fold.live.as_ref();
            let Some(started) = started.filter(|live| live.started_at + fold.lateness == at) else {
                continue;
            };
            let Some(limit) = fold.timeouts.max_sessions else {
                continue;
            };
            let mut others = Vec::new();
            for (other, fold) in self.folds.iter().enumerate() {
                let live = fold.live.as_ref().filter(|live| {
                    (&live.user, &live.tenant) == (&started.user, &started.tenant)
                        && live.started_at <= started.started_at
                });
                let live = live.filter(|_| other != number);
                others.extend(live.map(|live| (live.last_activity, live.started_at, other)));
            }
            others.sort_unstable();
            let excess = (others.len() + 1).saturating_sub(limit).min(others.len());
            for (_, _, other) in others.drain(..excess) {
                self.folds[other].end(Reason::SessionLimit, at);
            }
        }
    }
}

impl<'a> Fold<'a> {
    /// Sessions that a lateness span separates from their deadline end under the old timeouts.
    fn edit(&mut self, edit: &'a Edit) {
        self.time_out(edit.at - self.lateness);
        self.timeouts = &edit.timeouts;
    }

    fn event(&mut self, event: &Event) {
        self.time_out(event.at);
        match &event.target {
            Target::Session { user, tenant, .. } => match event.kind {
                Kind::Activity | Kind::Login => self.act(event, user, tenant),
                kind => self.end_by(kind, event.at),
            },
            Target::User { user, except } => {
                let is_spared = except.as_deref() == Some(self.id);
                if !is_spared && self.live.as_ref().is_some_and(|live| live.user == *user) {
                    self.end_by(event.kind, event.at);
                }
            }
            Target::Match { tenant } => {
                let matches =
                    |live: &Session| tenant.as_ref().is_none_or(|one| live.tenant == *one);
                if self.live.as_ref().is_some_and(matches) {
                    self.end_by(event.kind, event.at);
                }
            }
        }
    }

    fn act(&mut self, event: &Event, user: &str, tenant: &str) {
        let is_login = event.kind == Kind::Login;
        if let Some(live) = &mut self.live {
            live.last_activity = event.at;
            if is_login {
                live.authenticated_at = event.at;
                live.user = user.to_owned();
            }
            return;
        }
        let in_flight = |(reason, ended_at): (Reason, i64)| {
            !matches!(reason, Reason::Idle | Reason::Absolute) && event.at <= ended_at + self.grace
        };
        if !is_login && self.ended.is_some_and(in_flight) {
            return;
        }
        self.ended = None;
        self.live = Some(Session {
            user: user.to_owned(),
            tenant: tenant.to_owned(),
            started_at: event.at,
            authenticated_at: event.at,
            last_activity: event.at,
        });
    }

    /// A logout or revocation of a live session, or of an id that no event has named before.
    fn end_by(&mut self, kind: Kind, at: i64) {
        if self.live.is_some() || self.ended.is_none() {
            let reason = match kind {
                Kind::Revoke => Reason::Revoked,
                Kind::Rotated => Reason::Rotated,
                Kind::Logout | Kind::Activity | Kind::Login => Reason::Logout,
            };
            self.end(reason, at);
        }
    }

    /// Ends the session if its deadline is at or before `now`.
    fn time_out(&mut self, now: i64) {
        let Some(live) = &self.live else { return };
        let Some((idle, absolute)) = self.timeouts.by_tenant.get(&live.tenant) else {
            return;
        };
        let idle_end = live.last_activity + idle;
        let absolute_end = absolute.map(|absolute| live.authenticated_at + absolute);
        let (deadline, reason) = match absolute_end {
            Some(end) if end <= idle_end => (end, Reason::Absolute),
            _ => (idle_end, Reason::Idle),
        };
        if deadline <= now {
            self.end(reason, deadline);
        }
    }

    fn end(&mut self, reason: Reason, ended_at: i64) {
        self.live = None;
        self.ended = Some((reason, ended_at));
        self.endings.push(Ending {
            session: self.id.to_owned(),
            reason,
            ended_at,
        });
    }
}

pub(crate) fn ends(kind: Kind) -> bool {
    matches!(kind, Kind::Logout | Kind::Revoke | Kind::Rotated)
}

fn session_id(event: &Event) -> Option<&str> {
    match &event.target {
        Target::Session { id, .. } => Some(id),
        Target::User { .. } | Target::Match { .. } => None,
    }
}
