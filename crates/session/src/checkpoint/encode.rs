//! Records as bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    ATTRIBUTES_AT, AWAITS_CHECK, BEGAN_WITH_LOGIN, CUT_OFF, Checkpoint, DEFERRED, ENDED, LIVE,
    LOGGED_IN, MORE_UNMATCHED, NUMBER, REAUTHENTICATED, Record, RecordKey, RememberedEnding,
    UNMATCHED, UnmatchedEnd, VERSION, WARNED,
};
use crate::attributes::Attributes;
use crate::cut_off::{CutOff, CutOffScope};
use crate::deferred::DeferredEvent;
use crate::event::{EventKind, Initiator};
use crate::id::{Packed, UserId};
use crate::reason::EndReason;
use crate::time::Timestamp;

impl RecordKey {
    /// Appends the key of the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Session(session) => out.extend_from_slice(session.text(&mut [0; 36]).as_bytes()),
            Self::CutOff(cut_off) => put_cut_off(out, cut_off),
        }
    }
}

impl Record {
    /// Appends the value of the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Session(record) => {
                out.push(
                    flag(record.live.is_some(), LIVE)
                        | flag(record.ended.is_some(), ENDED)
                        | flag(!record.unmatched.is_empty(), UNMATCHED)
                        | flag(record.unmatched.len() > 1, MORE_UNMATCHED),
                );
                if let Some(live) = &record.live {
                    put_live(out, live);
                }
                if let Some(ended) = &record.ended {
                    put_ended(out, *ended);
                }
                if let Some((first, more)) = record.unmatched.split_first() {
                    put_unmatched(out, first);
                    if !more.is_empty() {
                        put_length(out, more.len());
                        more.iter().for_each(|end| put_unmatched(out, end));
                    }
                }
            }
            Self::CutOff(record) => {
                out.push(CUT_OFF);
                out.push(u8::from(record.complete));
                put_initiator(out, record.cut_off.initiator.as_deref());
            }
        }
    }
}

fn put_unmatched(out: &mut Vec<u8>, end: &UnmatchedEnd) {
    out.push(reason_code(end.reason));
    put_integer(out, end.at.as_millis());
    put_initiator(out, end.initiator.as_ref());
}

fn put_live(out: &mut Vec<u8>, live: &Checkpoint) {
    let reauthenticated = live.authenticated_at != live.started_at;
    let is_implied = |at: &Timestamp| live.attributes.is_some() && *at == live.last_activity;
    let attributes_at = live.attributes_at.filter(|at| !is_implied(at));
    out.push(
        flag(live.user.number, NUMBER)
            | flag(live.warned_of.is_some(), WARNED)
            | flag(live.logged_in, LOGGED_IN)
            | flag(reauthenticated, REAUTHENTICATED)
            | flag(!live.deferred.is_empty(), DEFERRED)
            | flag(live.awaits_check, AWAITS_CHECK)
            | flag(live.began_with_login, BEGAN_WITH_LOGIN)
            | flag(attributes_at.is_some(), ATTRIBUTES_AT),
    );
    let start = live.started_at;
    put_integer(out, start.as_millis());
    put_integer(out, live.position);
    put_time_after(out, start, live.last_activity);
    if reauthenticated {
        put_time_after(out, start, live.authenticated_at);
    }
    if let Some(warned_of) = live.warned_of {
        put_time_after(out, start, warned_of);
    }
    put_text(out, live.user.text.text(&mut [0; 36]));
    put_attributes(out, live.attributes.as_ref());
    if let Some(at) = attributes_at {
        put_time_after(out, start, at);
    }
    if !live.deferred.is_empty() {
        put_length(out, live.deferred.len());
        for event in &live.deferred {
            put_deferred(out, start, event);
        }
    }
}

fn put_deferred(out: &mut Vec<u8>, start: Timestamp, event: &DeferredEvent) {
    put_time_after(out, start, event.at);
    out.push(kind_code(event.kind));
    out.push(u8::from(event.broad));
    put_user(out, event.user.as_ref());
    // A count of -1 distinguishes no attributes from empty ones, which replace earlier ones.
    match &event.attributes {
        None => put_integer(out, -1),
        Some(attributes) => put_attributes(out, Some(attributes)),
    }
    put_initiator(out, event.initiator.as_deref());
}

fn put_ended(out: &mut Vec<u8>, ended: RememberedEnding) {
    out.push(reason_code(ended.reason));
    put_integer(out, ended.ended_at.as_millis());
    let after = |at: Timestamp| at.since(ended.ended_at).as_millis().saturating_add(1);
    put_integer(out, ended.in_flight.map_or(0, after));
}

fn put_cut_off(out: &mut Vec<u8>, cut_off: &CutOff) {
    out.push(0);
    put_integer(out, cut_off.at.as_millis());
    out.push(reason_code(cut_off.reason));
    match &cut_off.scope {
        CutOffScope::User(user) => put_user(out, Some(user)),
        CutOffScope::Matching(attributes) => {
            put_user(out, None);
            put_attributes(out, Some(attributes));
        }
    }
    put_optional_text(out, cut_off.except.as_ref().map(|id| id.text_owned()));
}

fn put_user(out: &mut Vec<u8>, user: Option<&UserId>) {
    match user {
        None => out.push(0),
        Some(user) => {
            out.push(if user.number { 2 } else { 1 });
            put_text(out, user.text.text(&mut [0; 36]));
        }
    }
}

fn put_initiator(out: &mut Vec<u8>, initiator: Option<&Initiator>) {
    let (by, note) = initiator.map_or((None, None), |one| (one.by.clone(), one.note.clone()));
    put_optional_text(out, by);
    put_optional_text(out, note);
}

fn put_optional_text(out: &mut Vec<u8>, text: Option<Box<str>>) {
    match text {
        None => put_integer(out, -1),
        Some(text) => put_text(out, &text),
    }
}

fn put_attributes(out: &mut Vec<u8>, attributes: Option<&Attributes>) {
    put_length(out, attributes.map_or(0, |all| all.iter().len()));
    for (name, value) in attributes.into_iter().flat_map(Attributes::iter) {
        put_text(out, name);
        put_text(out, value);
    }
}

fn put_time_after(out: &mut Vec<u8>, start: Timestamp, at: Timestamp) {
    put_integer(out, at.as_millis().wrapping_sub(start.as_millis()));
}

fn put_integer(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_integer(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

const fn kind_code(kind: EventKind) -> u8 {
    match kind {
        EventKind::Activity => 0,
        EventKind::Login => 1,
        EventKind::Logout => 2,
        EventKind::Revoke => 3,
        EventKind::Rotated => 4,
    }
}

const fn reason_code(reason: EndReason) -> u8 {
    match reason {
        EndReason::IdleTimeout => 0,
        EndReason::AbsoluteTimeout => 1,
        EndReason::Logout => 2,
        EndReason::Revoked => 3,
        EndReason::Rotated => 4,
        EndReason::SessionLimit => 5,
    }
}

impl Packed {
    fn text_owned(&self) -> Box<str> {
        self.text(&mut [0; 36]).into()
    }
}
