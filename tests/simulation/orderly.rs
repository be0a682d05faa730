//! Events that are out of order by less than the allowed lateness, so that the reference model determines
//! the endings.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::session::EventKind;

use crate::applications::{Event, session};
use crate::model::{self, Kind, Target};
use crate::rules::TENANTS;
use crate::schedule::Settings;
use crate::users::user_on;

const USERS: u32 = 3;

/// Draws the events of applications.
#[derive(Debug)]
pub(crate) struct Orderly {
    settings: Settings,
    lateness: i64,
    /// The time of the latest event that ends a session.
    ends: BTreeMap<String, i64>,
    /// The same of users.
    user_ends: BTreeMap<u32, i64>,
    /// The time of the latest login of each session.
    logins: BTreeMap<String, i64>,
    /// Events that may be written again.
    recent: Vec<(i32, u32, EventKind, i64)>,
}

impl Orderly {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            lateness: settings.allowed_lateness,
            ends: BTreeMap::new(),
            user_ends: BTreeMap::new(),
            logins: BTreeMap::new(),
            recent: Vec::new(),
        }
    }

    /// Draws an event of this session, or a recent one of its partition once more.
    pub(crate) fn event(
        &mut self,
        now: i64,
        rng: &mut ChaCha8Rng,
        partition: i32,
        number: u32,
    ) -> Event {
        self.recent.retain(|(.., at)| *at > now - self.lateness);
        let mut repeatable = self.recent.iter().filter(|(there, ..)| *there == partition);
        let again = repeatable
            .next()
            .filter(|_| rng.random_ratio(1, 4))
            .copied();
        let (_, number, kind, at) = again.unwrap_or_else(|| {
            let at = now - rng.random_range(0..self.lateness);
            (partition, number, self.kind(rng, partition, number, at), at)
        });
        if again.is_none() {
            self.recent.push((partition, number, kind, at));
        }
        let event = Event {
            session: Some(session(partition, number, self.settings.partitions)),
            user: 0,
            kind,
            at,
            attributes: "",
            model: None,
        };
        of_owner(event, self.settings, partition, number)
    }

    fn kind(&mut self, rng: &mut ChaCha8Rng, partition: i32, number: u32, at: i64) -> EventKind {
        match rng.random_range(0..20) {
            0..11 => EventKind::Activity,
            11..14 => self.login(partition, number, at),
            drawn => {
                let id = session(partition, number, self.settings.partitions);
                let user = owner(self.settings, partition, number);
                let latest = self.ends.get(&id).max(self.user_ends.get(&user));
                if latest.is_some_and(|latest| !self.are_apart(*latest, at)) {
                    return EventKind::Activity;
                }
                self.ends.insert(id, at);
                match drawn {
                    14..18 => EventKind::Logout,
                    18 => EventKind::Revoke,
                    _ => EventKind::Rotated,
                }
            }
        }
    }

    /// Completes an event that ends all sessions of a user, if no other end is near.
    pub(crate) fn end_of_user(&mut self, event: Event) -> Option<Event> {
        let (at, user) = (event.at, event.user);
        let all = self.ends.values().chain(self.user_ends.values());
        if all.copied().any(|latest| !self.are_apart(latest, at)) {
            return None;
        }
        self.user_ends.insert(user, at);
        let target = Target::User {
            user: user.to_string(),
            except: None,
        };
        let model = Some(model::Event {
            at,
            target,
            kind: kind_in_the_model(event.kind),
        });
        Some(Event { model, ..event })
    }

    /// After a late end, of several logins only the latest is known, and limits count from there.
    fn login(&mut self, partition: i32, number: u32, at: i64) -> EventKind {
        let id = session(partition, number, self.settings.partitions);
        let earlier = self.logins.get(&id);
        let is_near = earlier.is_some_and(|earlier| !self.are_apart(*earlier, at));
        if is_near && self.settings.user_sessions.is_some() {
            return EventKind::Activity;
        }
        self.logins.insert(id, at);
        EventKind::Login
    }

    /// Of two different ends within the lateness, the first that is read counts.
    fn are_apart(&self, one: i64, other: i64) -> bool {
        (one - other).abs() > 2 * self.lateness
    }
}

/// The event with the user and the tenant that the session of this number always has.
pub(crate) fn of_owner(event: Event, settings: Settings, partition: i32, number: u32) -> Event {
    let user = owner(settings, partition, number);
    let (tenant, attributes) = if number.is_multiple_of(2) {
        (TENANTS[0], r#","attributes":{"tenant":"acme"}"#)
    } else {
        (TENANTS[1], r#","attributes":{"tenant":"globex"}"#)
    };
    let target = event.session.clone().map(|id| Target::Session {
        id,
        user: user.to_string(),
        tenant: tenant.to_owned(),
    });
    let model = target.map(|target| model::Event {
        at: event.at,
        target,
        kind: kind_in_the_model(event.kind),
    });
    Event {
        user,
        attributes,
        model,
        ..event
    }
}

fn owner(settings: Settings, partition: i32, number: u32) -> u32 {
    match settings.user_sessions {
        Some(_) => user_on(partition, number, settings.partitions),
        None => number % USERS,
    }
}

fn kind_in_the_model(kind: EventKind) -> Kind {
    match kind {
        EventKind::Activity => Kind::Activity,
        EventKind::Login => Kind::Login,
        EventKind::Logout => Kind::Logout,
        EventKind::Revoke => Kind::Revoke,
        EventKind::Rotated => Kind::Rotated,
    }
}
