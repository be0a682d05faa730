//! Event times: RFC 3339, or a number whose unit follows from its magnitude.

use crate::session::Timestamp;
use crate::wire::time;

/// Digits before the decimal point up to which a number counts seconds: below 10¹¹.
const SECONDS_DIGITS: i64 = 11;
/// Digits up to which a number counts milliseconds.
const MILLIS_DIGITS: i64 = 14;
/// Digits up to which a number counts microseconds; longer ones count nanoseconds.
const MICROS_DIGITS: i64 = 17;
/// More digits are beyond the year 9999 in every unit.
const MAX_DIGITS: i64 = 21;

/// Parses the text of a string: RFC 3339 with any offset, or a number.
pub(super) fn from_text(text: &str) -> Option<Timestamp> {
    time::parse(text).or_else(|| from_number(text))
}

/// Parses a decimal number, with or without a fraction and an exponent; truncates to
/// milliseconds. `None` outside the years 0 to 9999.
pub(super) fn from_number(text: &str) -> Option<Timestamp> {
    let millis = match whole_number(text) {
        Some(number) => number,
        None => decimal(text)?,
    };
    let at = Timestamp::from_millis(millis);
    (time::EARLIEST..=time::LATEST).contains(&at).then_some(at)
}

/// The common case: a positive whole number of seconds to microseconds, in milliseconds.
fn whole_number(text: &str) -> Option<i64> {
    let digits = i64::try_from(text.len()).ok()?;
    if digits > MICROS_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    Some(match shift_to_millis(digits - leading_zeros(text)) {
        3 => number * 1000,
        0 => number,
        _ => number / 1000,
    })
}

/// Any number, in milliseconds, without the rounding of binary fractions.
fn decimal(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = [whole, fraction].concat();
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) - leading_zeros(&digits);
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    if point > MAX_DIGITS {
        return None;
    }
    // At most 15 digits, which fit.
    let millis =
        (0..point + shift_to_millis(point)).zip(digits.bytes().chain(std::iter::repeat(b'0')));
    let millis = millis.fold(0, |sum, (_, digit)| sum * 10 + i64::from(digit - b'0'));
    Some(if negative { -millis } else { millis })
}

/// Returns by how many digits the decimal point moves from the unit to milliseconds.
fn shift_to_millis(digits_before_point: i64) -> i64 {
    if digits_before_point <= SECONDS_DIGITS {
        3
    } else if digits_before_point <= MILLIS_DIGITS {
        0
    } else if digits_before_point <= MICROS_DIGITS {
        -3
    } else {
        -6
    }
}

fn leading_zeros(digits: &str) -> i64 {
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    i64::try_from(zeros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(text: &str) -> Option<i64> {
        from_number(text).map(Timestamp::as_millis)
    }

    #[test]
    fn the_magnitude_selects_the_unit() {
        for (text, expected) in [
            ("1738929600", 1_738_929_600_000),
            ("1738929600123", 1_738_929_600_123),
            ("1738929600123456", 1_738_929_600_123),
            ("1738929600123456789", 1_738_929_600_123),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("99999999999999", 99_999_999_999_999),
            ("100000000000000", 100_000_000_000),
            ("99999999999999999", 99_999_999_999_999),
            ("100000000000000000", 100_000_000_000),
            ("000001738929600", 1_738_929_600_000),
            ("0", 0),
            ("-1", -1_000),
            ("-0", 0),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn fractions_and_exponents_are_exact() {
        for (text, expected) in [
            ("1738929600.5", 1_738_929_600_500),
            ("1738929600.123456789", 1_738_929_600_123),
            ("1738929600123.999", 1_738_929_600_123),
            ("1.738929600123E9", 1_738_929_600_123),
            ("1.738929600123e12", 1_738_929_600_123),
            ("17389296001230e-1", 1_738_929_600_123),
            ("-0.001", -1),
            ("0.0009", 0),
            ("1e-400", 0),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_and_times_beyond_the_year_9999_are_refused() {
        for text in [
            "",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1.5.5",
            "0x10",
            " 1",
            "1 ",
            "NaN",
            "1_000",
            "1e99999999999",
            "1e400",
            "999999999999999999999999",
            "999999999999999999999",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[-+0-9.eE]{0,30}") {
            let _ = from_number(&text);
        }

        #[test]
        fn all_units_of_one_time_agree(at in 100_000_000_000_i64..4_102_444_800_000) {
            let (seconds, rest) = (at / 1000, at % 1000);
            for text in [
                format!("{seconds}.{rest:03}"),
                format!("{at}"),
                format!("{at}000"),
                format!("{at}999999"),
            ] {
                prop_assert_eq!(millis(&text), Some(at), "{}", text);
            }
        }
    }
}
