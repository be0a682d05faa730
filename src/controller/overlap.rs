//! Whether two policies can match the same session.

use crate::policy::document::{Match, SessionPolicySpec};

/// Bounds the pairs of characters that one reconciliation compares. Without a bound, a thousand
/// policies with the longest globs take minutes.
const MAX_COMPARISONS: usize = 20_000_000;

/// Compares matchers until a budget is spent.
#[derive(Debug)]
pub struct Comparison {
    budget: usize,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            budget: MAX_COMPARISONS,
        }
    }
}

impl Comparison {
    /// Returns whether a session can match both policies; `None` once the budget is spent.
    pub fn overlap(&mut self, a: &SessionPolicySpec, b: &SessionPolicySpec) -> Option<bool> {
        let (Some(a), Some(b)) = (&a.matches, &b.matches) else {
            return Some(true);
        };
        if !attributes_agree(a, b) {
            return Some(false);
        }
        if a.user_ids.is_empty() || b.user_ids.is_empty() {
            return Some(true);
        }
        for left in &a.user_ids {
            for right in &b.user_ids {
                let cost = (left.len() + 1) * (right.len() + 1);
                self.budget = self.budget.checked_sub(cost)?;
                if globs_overlap(left, right) {
                    return Some(true);
                }
            }
        }
        Some(false)
    }
}

/// Returns whether a session can have the attributes of both matchers.
fn attributes_agree(a: &Match, b: &Match) -> bool {
    a.attributes
        .iter()
        .all(|(name, value)| b.attributes.get(name).is_none_or(|other| other == value))
}

/// Returns whether a string exists that matches both globs.
///
/// Dynamic programming from the ends: a cell is `true` if the suffixes of both globs from its
/// positions match a common string.
fn globs_overlap(a: &str, b: &str) -> bool {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut next_row = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let (left, right) = (a.get(i), b.get(j));
            let next_in_a = || i < a.len() && next_row[j];
            let next_in_b = |row: &[bool]| j < b.len() && row[j + 1];
            row[j] = match (left, right) {
                (None, None) => true,
                // A star matches nothing, or one character that the other glob matches.
                (Some('*'), _) | (_, Some('*')) => next_in_a() || next_in_b(&row),
                (Some(left), Some(right)) => {
                    (left == right || *left == '?' || *right == '?') && next_row[j + 1]
                }
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
        next_row = row;
    }
    next_row[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Glob;
    use proptest::prelude::*;

    fn spec(attributes: &[(&str, &str)], user_ids: &[&str]) -> SessionPolicySpec {
        let attributes: serde_json::Map<_, _> = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let matches = serde_json::json!({"attributes": attributes, "userIds": user_ids});
        serde_json::from_value(serde_json::json!({"idleTimeout": "1h", "match": matches})).unwrap()
    }

    fn overlap(a: &SessionPolicySpec, b: &SessionPolicySpec) -> Option<bool> {
        Comparison::default().overlap(a, b)
    }

    #[test]
    fn contradicting_attributes_do_not_overlap() {
        let acme = spec(&[("tenant", "acme")], &[]);
        let mobile = spec(&[("client", "mobile")], &[]);
        let umbrella = spec(&[("tenant", "umbrella"), ("client", "mobile")], &[]);
        assert_eq!(overlap(&acme, &mobile), Some(true));
        assert_eq!(overlap(&acme, &umbrella), Some(false));
        let everyone: SessionPolicySpec =
            serde_json::from_value(serde_json::json!({"idleTimeout": "1h"})).unwrap();
        assert_eq!(overlap(&everyone, &umbrella), Some(true));
    }

    #[test]
    fn globs_overlap_if_one_text_matches_both() {
        for (a, b, expected) in [
            ("svc-*", "*-backup", true),
            ("svc-*", "user-*", false),
            ("a?c", "ab*", true),
            ("a?c", "abd*", false),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "*x*", true),
            ("ab", "ba", false),
        ] {
            let left = spec(&[], &[a]);
            let right = spec(&[], &[b]);
            assert_eq!(overlap(&left, &right), Some(expected), "{a} {b}");
            assert_eq!(overlap(&right, &left), Some(expected), "{b} {a}");
        }
    }

    #[test]
    fn past_the_budget_the_overlap_is_undetermined() {
        let long = "a".repeat(500);
        let policy = spec(&[], &[&long]);
        let mut comparison = Comparison { budget: 1_000 };
        assert_eq!(comparison.overlap(&policy, &policy), None);
    }

    proptest! {
        #[test]
        fn a_text_that_matches_both_proves_an_overlap(a in "[ab?*]{0,5}", b in "[ab?*]{0,5}", text in "[ab]{0,5}") {
            if Glob::new(&a).matches(&text) && Glob::new(&b).matches(&text) {
                prop_assert!(globs_overlap(&a, &b));
            }
        }
    }
}
