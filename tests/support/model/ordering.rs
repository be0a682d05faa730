//! What the order of reading changes: the model does not know it across partitions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Event, Limits};

/// The events of a session, and those of many sessions: of their copies on all partitions, the first that
/// lies beside the session's.
pub(super) fn concerning<'a>(events: &'a [Event], session: &str) -> Vec<&'a Event> {
    let is_own = |event: &&Event| event.session.as_deref() == Some(session);
    let partition = events.iter().find(is_own).map(|event| event.partition);
    let mut concerning = Vec::<&Event>::new();
    for event in events {
        let copy = concerning
            .iter_mut()
            .find(|other| other.session.is_none() && other.json == event.json);
        match (&event.session, copy) {
            (None, Some(copy)) if Some(copy.partition) == partition => {}
            (None, Some(copy)) if Some(event.partition) == partition => *copy = event,
            (None, None) => concerning.push(event),
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
pub(super) fn depends_on_order(events: &[&Event], limits: Limits) -> bool {
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
        let later = || active().filter(|one| one.place < end.place && after.contains(&one.at));
        let logins = later().filter(|event| event.json["event"] == "login");
        logins.count() > 1 || (later().count() > 0 && may_be_lost)
    };
    let has_early = |end: &Event| {
        let before = || active().filter(|event| event.at <= end.at);
        let is_known = |late: &Event| {
            let since = late.at - limits.idle..=late.at;
            before().any(|one| one.place < end.place && since.contains(&one.at))
        };
        before().any(|late| late.place > end.place && !is_known(late))
    };
    let ends = || events.iter().filter(|event| event.reason.is_some());
    // Of two logouts, the first that is read counts.
    let is_overtaken = |end: &Event| {
        let after = end.at + 1..=end.at + limits.lateness;
        ends().any(|other| other.place < end.place && after.contains(&other.at))
    };
    varied || ends().any(|end| is_split(end) || has_early(end) || is_overtaken(end))
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
