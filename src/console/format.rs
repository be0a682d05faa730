//! Human-readable numbers, times and durations.

use std::borrow::Borrow;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::session::Timestamp;
use crate::wire::time;

/// A point in time: relative on pages, exact in tooltips and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339.
    pub exact: String,
    /// As in `12 s ago` or `in 5 min`.
    pub relative: String,
}

impl Moment {
    /// Formats `at` relative to `now`.
    #[must_use]
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        let millis = now.as_millis().saturating_sub(at.as_millis());
        let relative = match millis {
            -999..=999 => "just now".to_owned(),
            1_000.. => format!("{} ago", span(millis)),
            _ => format!("in {}", span(millis.saturating_neg())),
        };
        Self {
            exact: time::format(at),
            relative,
        }
    }

    /// Parses an RFC 3339 time; `None` if it is invalid.
    #[must_use]
    pub fn parse(text: &str, now: Timestamp) -> Option<Self> {
        time::parse(text).map(|at| Self::new(at, now))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact)
    }
}

/// Formats a duration in its two largest units: `850 ms`, `1.5 s`, `2 min 5 s`, `3 h 20 min`.
#[must_use]
pub fn span(millis: impl Borrow<i64>) -> String {
    let millis = *millis.borrow();
    let (seconds, two) = (
        millis / 1_000,
        |large: i64, a: &str, small: i64, b: &str| {
            if small == 0 {
                format!("{large} {a}")
            } else {
                format!("{large} {a} {small} {b}")
            }
        },
    );
    match seconds {
        ..=0 => format!("{millis} ms"),
        1..=9 if millis % 1_000 >= 100 => format!("{seconds}.{} s", millis % 1_000 / 100),
        1..=59 => format!("{seconds} s"),
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Formats a count with separated thousands: `1,234,567`.
#[must_use]
pub fn count(value: impl Integer) -> String {
    let value = value.to_i128();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// Formats a measurement with three significant digits: `0.25`, `12.3`, `1.2 k`, `3.4 M`.
#[must_use]
pub fn number(value: impl Borrow<f64>) -> String {
    let value = *value.borrow();
    let size = value.abs();
    let (scaled, suffix) = match size {
        1e9.. => (value / 1e9, " G"),
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{suffix}")
}

/// Formats numbers as ranges: `0–3, 7`.
#[must_use]
pub fn ranges(mut numbers: Vec<i32>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// An integer of any type, by value or, as in templates, by reference.
pub trait Integer {
    fn to_i128(&self) -> i128;
}

impl Integer for i64 {
    fn to_i128(&self) -> i128 {
        (*self).into()
    }
}

impl Integer for u64 {
    fn to_i128(&self) -> i128 {
        (*self).into()
    }
}

impl Integer for usize {
    fn to_i128(&self) -> i128 {
        i128::try_from(*self).unwrap_or(i128::MAX)
    }
}

impl<T: Integer> Integer for &T {
    fn to_i128(&self) -> i128 {
        (*self).to_i128()
    }
}

/// Formats a value, or a dash without one.
#[must_use]
pub fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_their_two_largest_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (1_500, "1.5 s"),
            (2_000, "2 s"),
            (59_999, "59 s"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (12_000_000, "3 h 20 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn counts_are_exact_and_measurements_have_three_digits() {
        assert_eq!(count(1_234_567_i64), "1,234,567");
        assert_eq!(count(-999_i64), "-999");
        for (value, text) in [
            (0.0, "0"),
            (0.251, "0.25"),
            (12.34, "12.3"),
            (100.0, "100"),
            (9_999.0, "9999"),
            (12_345.0, "12.3 k"),
            (3_400_000.0, "3.4 M"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn consecutive_numbers_form_a_range() {
        assert_eq!(ranges(vec![7, 0, 1, 2, 3, 9, 10]), "0–3, 7, 9, 10");
        assert_eq!(ranges(vec![]), "");
    }

    #[test]
    fn moments_in_the_past_and_the_future_are_relative_to_now() {
        let now = Timestamp::from_millis(1_000_000);
        let at =
            |millis: i64| Moment::new(Timestamp::from_millis(1_000_000 + millis), now).relative;
        assert_eq!(at(0), "just now");
        assert_eq!(at(-65_000), "1 min 5 s ago");
        assert_eq!(at(300_000), "in 5 min");
    }
}
