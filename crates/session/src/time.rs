//! Points in time and spans, in whole milliseconds.

use core::fmt;
use core::ops::{Add, Sub};

/// A point in time: milliseconds since the Unix epoch, UTC.
///
/// Arithmetic saturates at [`Timestamp::MIN`] and [`Timestamp::MAX`], so that
/// no input can wrap a deadline around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time: a watermark that has not advanced yet.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time: the deadline of a session that never times out.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the time `millis` milliseconds after the epoch (before it, if negative).
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the span from `earlier` to this time; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        let millis = self.0.saturating_sub(earlier.0);
        Span(if millis > 0 { millis } else { 0 })
    }

    /// Returns the span between two times in either order.
    #[must_use]
    pub fn distance(self, other: Self) -> Span {
        self.since(other).max(other.since(self))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// A length of time in milliseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// The empty span.
    pub const ZERO: Self = Self(0);

    /// Returns a span of `millis` milliseconds; negative values become zero.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(if millis > 0 { millis } else { 0 })
    }

    /// Returns a span of `secs` seconds; negative values become zero.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// Returns whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Formats like a Kubernetes duration: `1h30m`, `90s`, `250ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let mut rest = self.0;
        for (millis, unit) in units {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp::MAX + Span::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Span::from_secs(1), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.since(Timestamp::MIN), Span(i64::MAX));
    }

    #[test]
    fn a_span_is_never_negative() {
        assert_eq!(Span::from_millis(-5), Span::ZERO);
        assert_eq!(Timestamp(3).since(Timestamp(8)), Span::ZERO);
        assert_eq!(Timestamp(3).distance(Timestamp(8)), Span(5));
    }

    #[test]
    fn spans_are_written_as_kubernetes_writes_durations() {
        assert_eq!(Span::from_millis(5_400_000).to_string(), "1h30m");
        assert_eq!(Span::from_millis(90_250).to_string(), "1m30s250ms");
        assert_eq!(Span::ZERO.to_string(), "0s");
    }
}
