//! Points in time on the wire: RFC 3339, UTC, milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::session::Timestamp;

/// The first point that can be written: the year 0.
pub const EARLIEST: Timestamp = Timestamp::from_millis(-62_167_219_200_000);
/// The last point that can be written: the end of the year 9999.
pub const LATEST: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// `2025-02-07T12:00:00.000Z`; points beyond the years 0 to 9999 are written as the
/// nearest that RFC 3339 can write.
#[must_use]
pub fn format(at: Timestamp) -> String {
    let millis = at.clamp(EARLIEST, LATEST).as_millis();
    DateTime::<Utc>::from_timestamp_millis(millis)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads RFC 3339 with any offset; fractions below a millisecond are cut off.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    if let Some(at) = parse_usual(text.as_bytes()) {
        return Some(at);
    }
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_millis(at.timestamp_millis()))
}

/// The form that nearly every event has, `2025-02-07T12:00:00Z` with up to nine
/// decimals: a third of the cost of the general parser, which gets all the rest.
fn parse_usual(text: &[u8]) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| {
        text[range].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if text.len() < 20 || separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fraction = &text[19..text.len() - 1];
    let mut millis = 0;
    if let [b'.', digits @ ..] = fraction {
        if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for at in 0..3 {
            millis = millis * 10 + i64::from(digits.get(at).map_or(0, |digit| digit - b'0'));
        }
    } else if !fraction.is_empty() {
        return None;
    }
    // Days beyond the 28th, leap seconds and years before the epoch: the general parser.
    let usual = text[text.len() - 1] == b'Z'
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    usual.then(|| {
        let seconds =
            (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        Timestamp::from_millis(seconds * 1000 + millis)
    })
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year - era * 400;
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_quick_way_agrees_with_the_general_one(
            text in "(19[67][0-9]|20[0-9]{2}|9999)-(0[0-9]|1[0-3])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?(Z|\\+02:00|z)"
        ) {
            let general = DateTime::parse_from_rfc3339(&text)
                .ok()
                .map(|at| Timestamp::from_millis(at.timestamp_millis()));
            if let Some(quick) = parse_usual(text.as_bytes()) {
                prop_assert_eq!(Some(quick), general);
            }
            prop_assert_eq!(parse(&text), general);
        }

        #[test]
        fn what_is_written_is_read(millis in EARLIEST.as_millis()..=LATEST.as_millis()) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(parse(&format(at)), Some(at));
        }
    }

    #[test]
    fn what_rfc_3339_cannot_write_becomes_the_nearest_that_it_can() {
        assert_eq!(format(Timestamp::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(format(Timestamp::MIN), "0000-01-01T00:00:00.000Z");
    }
}
