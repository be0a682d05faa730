//! A slow and obvious model of a session table: a plain map of sessions without wheel, packed ids or
//! cached policies.

use std::collections::BTreeMap;

use sundown_session::{EndReason, EventKind};

use crate::generate::Record;

/// Attributes of a session, or those that a policy asks for.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Text, and whether it was a number.
pub(crate) type User = (String, bool);

/// Settings of the table, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) allowed_lateness: i64,
    pub(crate) max_future_skew: i64,
    pub(crate) slack: i64,
    pub(crate) max_sessions: usize,
}

/// A policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) priority: i32,
    pub(crate) idle: i64,
    pub(crate) absolute: Option<i64>,
    pub(crate) warn_before: Option<i64>,
    pub(crate) attributes: Attributes,
    pub(crate) users: Vec<String>,
    pub(crate) suspend: bool,
}

/// One session event; without a session id it is about every session of the user.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) session: Option<String>,
    pub(crate) user: Option<User>,
    pub(crate) at: i64,
    pub(crate) kind: EventKind,
    pub(crate) attributes: Option<Attributes>,
}

/// An output of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Output {
    Ended {
        session: String,
        user: Option<User>,
        reason: EndReason,
        policy: (String, u64),
        started_at: Option<i64>,
        last_activity: Option<i64>,
        ended_at: i64,
        start_offset: i64,
        attributes: Attributes,
    },
    Expiring {
        session: String,
        user: User,
        reason: EndReason,
        policy: (String, u64),
        last_activity: i64,
        deadline: i64,
        start_offset: i64,
        attributes: Attributes,
    },
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Late,
    Refused,
}

#[derive(Clone, Debug)]
struct Session {
    user: User,
    started_at: i64,
    last_activity: i64,
    start_offset: i64,
    attributes: Attributes,
    /// Whether a warning of the present deadline, or a later one, has been emitted.
    warned: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    settings: Settings,
    rules: Vec<Rule>,
    fallback: Rule,
    live: BTreeMap<String, Session>,
    watermark: i64,
}

impl Model {
    pub(crate) fn new(settings: Settings, rules: Vec<Rule>, fallback: Rule) -> Self {
        Self {
            settings,
            rules,
            fallback,
            live: BTreeMap::new(),
            watermark: i64::MIN,
        }
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &str> {
        self.live.keys().map(String::as_str)
    }

    /// How many sessions live under each rule, by its name; none is not mentioned.
    pub(crate) fn policy_counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for session in self.live.values() {
            let rule = self.rule(&session.user.0, &session.attributes);
            *counts.entry(rule.name.as_str()).or_default() += 1;
        }
        counts
    }

    /// No client clock can make a session immortal.
    pub(crate) fn clamp(&self, record: &Record) -> i64 {
        let latest = record.timestamp + self.settings.max_future_skew;
        if record.event.at > latest {
            record.timestamp
        } else {
            record.event.at
        }
    }

    pub(crate) fn apply(&mut self, record: &Record) -> (Verdict, Vec<Output>) {
        let at = self.clamp(record);
        let event = &record.event;
        let mut outputs = Vec::new();
        let Some(id) = &event.session else {
            self.end_all_of(event, at, &mut outputs);
            return (Verdict::Accepted, outputs);
        };
        if let Some(session) = self.live.get(id) {
            let (deadline, reason) = self.deadline(session);
            // A time that had to be clamped proves nothing.
            if at < deadline || at < event.at {
                self.apply_to_live(id, event, at, &mut outputs);
                return (Verdict::Accepted, outputs);
            }
            self.end(id, reason, deadline, &mut outputs);
        }
        let fate = self.apply_to_unknown(id, event, at, record.offset, &mut outputs);
        (fate, outputs)
    }

    /// Ends what ended `allowed_lateness` before the watermark, and warns of what ends
    /// soon, in the order in which it fell due.
    pub(crate) fn advance(&mut self, watermark: i64) -> Vec<Output> {
        self.watermark = self.watermark.max(watermark);
        let reached = |time: i64| time + self.settings.allowed_lateness <= self.watermark;
        let mut due = Vec::new();
        for (id, session) in &self.live {
            let (deadline, reason) = self.deadline(session);
            if deadline == i64::MAX {
                continue;
            }
            let warn_before = self.rule(&session.user.0, &session.attributes).warn_before;
            let warning = warn_before.map(|before| deadline - before);
            if reached(deadline) {
                due.push((deadline, session.start_offset, id.clone(), true, reason));
            } else if let Some(warning) = warning.filter(|at| !session.warned && reached(*at)) {
                due.push((warning, session.start_offset, id.clone(), false, reason));
            }
        }
        due.sort();
        let mut outputs = Vec::new();
        for (at, _, id, over, reason) in due {
            if over {
                self.end(&id, reason, at, &mut outputs);
            } else {
                outputs.push(self.warn(&id));
            }
        }
        outputs
    }

    pub(crate) fn set_rules(&mut self, rules: Vec<Rule>) {
        let before: Vec<(String, i64)> = self.deadlines();
        self.rules = rules;
        for (id, before) in before {
            self.withdraw_warning_if_later(&id, before);
        }
    }

    fn apply_to_live(&mut self, id: &str, event: &Event, at: i64, outputs: &mut Vec<Output>) {
        let before = self.deadline(&self.live[id]).0;
        let session = self.live.get_mut(id).unwrap();
        match event.kind {
            EventKind::Logout => return self.end(id, EndReason::Logout, at, outputs),
            EventKind::Revoke => return self.end(id, EndReason::Revoked, at, outputs),
            EventKind::Login => {
                session.started_at = session.started_at.max(at);
                session.user = event.user.clone().unwrap();
            }
            EventKind::Activity => {}
        }
        session.last_activity = session.last_activity.max(at);
        if let Some(attributes) = &event.attributes {
            session.attributes.clone_from(attributes);
        }
        self.withdraw_warning_if_later(id, before);
    }

    fn apply_to_unknown(
        &mut self,
        id: &str,
        event: &Event,
        at: i64,
        offset: i64,
        outputs: &mut Vec<Output>,
    ) -> Verdict {
        let session = Session {
            user: event.user.clone().unwrap_or_default(),
            started_at: at,
            last_activity: at,
            start_offset: offset,
            attributes: event.attributes.clone().unwrap_or_default(),
            warned: false,
        };
        let (deadline, _) = self.deadline(&session);
        let over = deadline.saturating_add(self.settings.allowed_lateness) <= self.watermark;
        let reason = match event.kind {
            _ if over => return Verdict::Late,
            EventKind::Activity | EventKind::Login => {
                if self.live.len() >= self.settings.max_sessions {
                    return Verdict::Refused;
                }
                self.live.insert(id.to_owned(), session);
                return Verdict::Accepted;
            }
            EventKind::Logout => EndReason::Logout,
            EventKind::Revoke => EndReason::Revoked,
        };
        let rule = self.rule(&session.user.0, &session.attributes);
        outputs.push(Output::Ended {
            session: id.to_owned(),
            user: event.user.clone(),
            reason,
            policy: (rule.name.clone(), rule.generation),
            started_at: None,
            last_activity: None,
            ended_at: at,
            start_offset: offset,
            attributes: session.attributes,
        });
        Verdict::Accepted
    }

    fn end_all_of(&mut self, event: &Event, at: i64, outputs: &mut Vec<Output>) {
        let theirs: Vec<String> = self
            .live
            .iter()
            .filter(|(_, session)| Some(&session.user) == event.user.as_ref())
            .map(|(id, _)| id.clone())
            .collect();
        for id in theirs {
            let (deadline, reason) = self.deadline(&self.live[&id]);
            match event.kind {
                _ if at >= deadline && at == event.at => self.end(&id, reason, deadline, outputs),
                EventKind::Revoke => self.end(&id, EndReason::Revoked, at, outputs),
                _ => self.end(&id, EndReason::Logout, at, outputs),
            }
        }
    }

    fn end(&mut self, id: &str, reason: EndReason, ended_at: i64, outputs: &mut Vec<Output>) {
        let session = self.live.remove(id).unwrap();
        let rule = self.rule(&session.user.0, &session.attributes);
        outputs.push(Output::Ended {
            session: id.to_owned(),
            reason,
            policy: (rule.name.clone(), rule.generation),
            started_at: Some(session.started_at),
            last_activity: Some(session.last_activity),
            ended_at,
            start_offset: session.start_offset,
            user: Some(session.user),
            attributes: session.attributes,
        });
    }

    fn warn(&mut self, id: &str) -> Output {
        self.live.get_mut(id).unwrap().warned = true;
        let session = &self.live[id];
        let (deadline, reason) = self.deadline(session);
        let rule = self.rule(&session.user.0, &session.attributes);
        Output::Expiring {
            session: id.to_owned(),
            user: session.user.clone(),
            reason,
            policy: (rule.name.clone(), rule.generation),
            last_activity: session.last_activity,
            deadline,
            start_offset: session.start_offset,
            attributes: session.attributes.clone(),
        }
    }

    /// A deadline that has moved on needs a warning of its own.
    fn withdraw_warning_if_later(&mut self, id: &str, before: i64) {
        if self.deadline(&self.live[id]).0 > before {
            self.live.get_mut(id).unwrap().warned = false;
        }
    }

    fn deadlines(&self) -> Vec<(String, i64)> {
        self.live
            .iter()
            .map(|(id, session)| (id.clone(), self.deadline(session).0))
            .collect()
    }

    fn deadline(&self, session: &Session) -> (i64, EndReason) {
        let rule = self.rule(&session.user.0, &session.attributes);
        if rule.suspend {
            return (i64::MAX, EndReason::IdleTimeout);
        }
        let idle = session.last_activity + rule.idle;
        let absolute = rule.absolute.map(|absolute| session.started_at + absolute);
        match absolute {
            Some(absolute) if absolute <= idle => (absolute, EndReason::AbsoluteTimeout),
            _ => (idle, EndReason::IdleTimeout),
        }
    }

    /// The highest priority that matches wins; ties are broken by name.
    fn rule(&self, user: &str, attributes: &Attributes) -> &Rule {
        self.rules
            .iter()
            .filter(|rule| {
                let named = rule.users.iter().any(|glob| glob_matches(glob, user));
                let has = |(name, value)| attributes.get(name) == Some(value);
                (rule.users.is_empty() || named) && rule.attributes.iter().all(has)
            })
            .min_by_key(|rule| (-i64::from(rule.priority), &rule.name))
            .unwrap_or(&self.fallback)
    }
}

/// `*` is any text, `?` any one character.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut rest = text.chars();
    match glob.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter()
                .any(|at| glob_matches(&glob[1..], &text[at..]))
        }
        Some(first) => {
            rest.next().is_some_and(|c| first == '?' || first == c)
                && glob_matches(&glob[first.len_utf8()..], rest.as_str())
        }
    }
}
