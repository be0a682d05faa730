//! What the order of reading changes: the model does not know it across partitions, unless records were
//! appended long after one another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Event, Limits};

/// How much later a partition may be read than another one, in milliseconds: longer than a tracker takes to
/// take over.
const MAX_DELAY: i64 = 20_000;

/// In which order the tracker has read the events that concern a session.
struct ReadingOrder {
    is_misrouted: bool,
}

impl ReadingOrder {
    fn surely_precedes(&self, one: &Event, other: &Event) -> bool {
        let of_same_kind = one.session.is_some() == other.session.is_some();
        if one.partition == other.partition && (of_same_kind || !self.is_misrouted) {
            return one.place < other.place;
        }
        let appended = one.appended.zip(other.appended);
        appended.is_some_and(|(one, other)| one + MAX_DELAY < other)
    }

    fn may_precede(&self, one: &Event, other: &Event) -> bool {
        !self.surely_precedes(other, one)
    }
}

/// The events of a session, and those of many sessions that may mean it: of their copies on all partitions,
/// the first that lies beside the session's.
pub(super) fn concerning<'a>(events: &'a [Event], session: &str) -> Vec<&'a Event> {
    let is_own = |event: &&Event| event.session.as_deref() == Some(session);
    let partition = events.iter().find(is_own).map(|event| event.partition);
    let own = || events.iter().filter(is_own).map(|event| &event.json);
    let users: Vec<&Value> = own().map(|event| &event["user_id"]).collect();
    let attributes = own().map(|event| &event["attributes"]);
    let attributes: Vec<&Value> = attributes.chain([&Value::Null]).collect();
    let may_mean = |event: &Event| {
        users.iter().any(|user| {
            let mut attributes = attributes.iter();
            attributes.any(|attributes| is_one_of_many(&event.json, session, user, attributes))
        })
    };
    let mut concerning = Vec::<&Event>::new();
    for event in events {
        let copy = concerning
            .iter_mut()
            .find(|other| other.session.is_none() && other.json == event.json);
        match (&event.session, copy) {
            (None, Some(copy)) if Some(copy.partition) == partition => {}
            (None, Some(copy)) if Some(event.partition) == partition => *copy = event,
            (None, None) if may_mean(event) => concerning.push(event),
            (Some(id), _) if id == session => concerning.push(event),
            _ => {}
        }
    }
    // At the same time, the order is that of the partition.
    concerning.sort_by_key(|event| (event.at, event.reason.is_some(), event.place));
    concerning
}

/// Whether attributes or start of a session depend on the order in which its events were read.
///
/// Attributes that are read last count. Of what was read before an earlier logout, only the latest login
/// and the latest attributes are known, and neither may be of the session that goes on. An event from
/// before the session's start that is read after its logout does not count.
pub(super) fn depends_on_order(events: &[&Event], limits: Limits, is_misrouted: bool) -> bool {
    let order = ReadingOrder { is_misrouted };
    let own = || events.iter().filter(|event| event.session.is_some());
    let active = || own().filter(|event| event.reason.is_none());
    let given: BTreeSet<_> = own()
        .filter(|event| event.json["attributes"].is_object())
        .map(|event| event.json["attributes"].to_string())
        .collect();
    let varied = given.len() > 1 && !own().is_sorted_by_key(|event| event.place);
    let is_bare = |event: &&Event| !event.json["attributes"].is_object();
    let may_be_lost = given.len() > 1 || (given.len() == 1 && active().any(is_bare));
    let is_split = |end: &Event| {
        let after = end.at..=end.at + limits.lateness;
        let later =
            || active().filter(|one| order.may_precede(one, end) && after.contains(&one.at));
        let logins = later().filter(|event| event.json["event"] == "login");
        logins.count() > 1 || (later().count() > 0 && may_be_lost)
    };
    let has_early = |end: &Event| {
        let before = || active().filter(|event| event.at <= end.at);
        let is_known = |late: &Event| {
            let since = late.at - limits.idle..=late.at;
            before().any(|one| order.surely_precedes(one, end) && since.contains(&one.at))
        };
        before().any(|late| order.may_precede(end, late) && !is_known(late))
    };
    let ends = || events.iter().filter(|event| event.reason.is_some());
    // Of two logouts, the first that is read counts.
    let overtakes_within = if is_misrouted {
        MAX_DELAY
    } else {
        limits.lateness
    };
    let is_overtaken = |end: &Event| {
        let after = end.at + 1..=end.at + overtakes_within;
        ends().any(|other| order.may_precede(other, end) && after.contains(&other.at))
    };
    varied || ends().any(|end| is_split(end) || has_early(end) || is_overtaken(end))
}

/// Whether ingest has written the session's events further out of order than the allowed lateness: a tracker
/// may then take the first of them for those of an earlier session that is over.
pub(super) fn is_displaced(events: &[&Event], limits: Limits) -> bool {
    is_late_after(events, limits, is_mapped)
}

/// Whether ingest has written an event of the session that much later than a logout of many sessions, which then
/// ends it first.
pub(super) fn is_behind_many(events: &[&Event], limits: Limits) -> bool {
    is_late_after(events, limits, |event| event.session.is_none())
}

fn is_mapped(event: &Event) -> bool {
    event.session.is_some() && event.known != event.appended
}

/// Whether an event that ingest has written is more than the allowed lateness older than one of the `others`
/// before it on its partition.
fn is_late_after(events: &[&Event], limits: Limits, others: impl Fn(&Event) -> bool) -> bool {
    let mut in_order = events.to_vec();
    in_order.sort_by_key(|event| event.place);
    let mut latest = BTreeMap::<i32, i64>::new();
    in_order.iter().any(|event| {
        let latest = latest.entry(event.partition).or_insert(i64::MIN);
        let is_late = is_mapped(event) && event.at + limits.lateness < *latest;
        if others(event) {
            *latest = event.at.max(*latest);
        }
        is_late
    })
}

/// Whether a logout or revocation of many sessions concerns the session.
pub(super) fn is_one_of_many(
    event: &Value,
    session: &str,
    user: &Value,
    attributes: &Value,
) -> bool {
    let Some(matched) = event["match"].as_object() else {
        return event["user_id"] == *user && event["except_session_id"] != session;
    };
    let wanted = matched.get("attributes").and_then(Value::as_object);
    wanted.is_none_or(|wanted| {
        let mut wanted = wanted.iter();
        wanted.all(|(name, value)| attributes[name] == *value)
    })
}
