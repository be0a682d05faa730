//! Durations in human-readable form: `90s`, `1h30m`, `250ms`.

use crate::session::Span;

/// The longest accepted duration: ten years.
pub const MAX_DURATION: Span = Span::from_secs(10 * 365 * 86_400);

/// An invalid duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a duration: {reason}; use a format such as 90s, 15m, 1h30m or 250ms")]
pub struct DurationError {
    text: String,
    reason: &'static str,
}

/// The units, from the largest to the smallest, in milliseconds.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Formats a duration as [`parse`] reads it; negative ones as zero.
#[must_use]
pub fn format(span: Span) -> String {
    let mut rest = span.as_millis().max(0);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Parses a duration: whole numbers, each followed by one of the units `d`, `h`, `m`,
/// `s` and `ms`, larger units first.
///
/// # Errors
/// [`DurationError`] if the text has another form or exceeds [`MAX_DURATION`].
pub fn parse(text: &str) -> Result<Span, DurationError> {
    let fail = |reason| DurationError {
        text: text.to_owned(),
        reason,
    };
    let mut next_unit = 0;
    let mut total = 0_i64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(fail("it is empty"));
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits]
            .parse()
            .map_err(|_| fail("a number is missing or too large"))?;
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[..letters]);
        let unit = unit.ok_or_else(|| fail("a unit is missing or unknown"))?;
        if unit < next_unit {
            return Err(fail("its units are not in order, or repeated"));
        }
        next_unit = unit + 1;
        rest = &rest[letters..];
        total = total.saturating_add(number.saturating_mul(UNITS[unit].1));
    }
    if total > MAX_DURATION.as_millis() {
        return Err(fail("it is longer than ten years"));
    }
    Ok(Span::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn formatted_durations_can_be_parsed(millis in 0..=MAX_DURATION.as_millis()) {
            let span = Span::from_millis(millis);
            prop_assert_eq!(parse(&format(span)).unwrap(), span);
        }
    }

    #[test]
    fn durations_are_parsed() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Span::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn invalid_durations_are_rejected_with_a_hint() {
        for text in [
            "",
            "90",
            "h",
            "1.5h",
            "-1s",
            "1m1h",
            "1s1s",
            "11y",
            "4000d",
            "99999999999999999999s",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("use a format such as"), "{error}");
        }
    }
}
