//! Whether two policies can match the same session.

use crate::policy::document::{Match, SessionPolicySpec};

/// How many pairs of characters of globs one look at all policies may compare. With a
/// thousand policies that all have the longest globs, more would take minutes.
const BUDGET: usize = 20_000_000;

/// Compares matchers, up to a bound.
#[derive(Debug)]
pub struct Comparison {
    budget: usize,
}

impl Default for Comparison {
    fn default() -> Self {
        Self { budget: BUDGET }
    }
}

impl Comparison {
    /// Whether some session falls under both policies; nothing when the bound is reached.
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
                if globs_meet(left, right) {
                    return Some(true);
                }
            }
        }
        Some(false)
    }
}

/// No session has two values of one attribute.
fn attributes_agree(a: &Match, b: &Match) -> bool {
    a.attributes
        .iter()
        .all(|(name, value)| b.attributes.get(name).is_none_or(|other| other == value))
}

/// Whether some text matches both globs. Row by row through the pairs of positions in them
/// from which the rest of both can match one text, from the ends.
fn globs_meet(a: &str, b: &str) -> bool {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut below = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let (left, right) = (a.get(i), b.get(j));
            let next_in_a = || i < a.len() && below[j];
            let next_in_b = |row: &[bool]| j < b.len() && row[j + 1];
            row[j] = match (left, right) {
                (None, None) => true,
                // A star matches nothing, or one character of what the other matches.
                (Some('*'), _) | (_, Some('*')) => next_in_a() || next_in_b(&row),
                (Some(left), Some(right)) => {
                    (left == right || *left == '?' || *right == '?') && below[j + 1]
                }
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
        below = row;
    }
    below[0]
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
    fn attributes_that_contradict_keep_policies_apart() {
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
    fn globs_meet_where_one_text_matches_both() {
        for (a, b, meet) in [
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
            assert_eq!(overlap(&left, &right), Some(meet), "{a} {b}");
            assert_eq!(overlap(&right, &left), Some(meet), "{b} {a}");
        }
    }

    #[test]
    fn past_the_bound_nothing_is_said() {
        let long = "a".repeat(500);
        let policy = spec(&[], &[&long]);
        let mut comparison = Comparison { budget: 1_000 };
        assert_eq!(comparison.overlap(&policy, &policy), None);
    }

    proptest! {
        #[test]
        fn a_text_that_matches_both_is_proof(a in "[ab?*]{0,5}", b in "[ab?*]{0,5}", text in "[ab]{0,5}") {
            if Glob::new(&a).matches(&text) && Glob::new(&b).matches(&text) {
                prop_assert!(globs_meet(&a, &b));
            }
        }
    }
}
