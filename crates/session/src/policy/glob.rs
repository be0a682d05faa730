//! Globs over user ids.

use alloc::boxed::Box;

/// A pattern in which `*` stands for any text and `?` for any one character; there is no escape.
///
/// Matching takes at most the pattern's length times the text's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// Whether the pattern matches the whole of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), text.chars());
        // The rest of the pattern behind the last `*`, and the text that this `*` has not skipped yet.
        // An earlier `*` never has to skip more: the shortest text that it can skip leaves the most.
        let mut resume = None;
        loop {
            let (before, next) = (rest.clone(), rest.next());
            match (pattern.next(), next) {
                (None, None) => return true,
                (Some('*'), _) => {
                    rest = before;
                    resume = Some((pattern.clone(), rest.clone()));
                }
                (Some('?'), Some(_)) => {}
                (Some(expected), Some(found)) if expected == found => {}
                _ => {
                    let Some((behind, unskipped)) = &mut resume else {
                        return false;
                    };
                    if unskipped.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (behind.clone(), unskipped.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By definition: the text is consumed from the left, `*` trying every length.
    fn matches_by_definition(pattern: &str, text: &str) -> bool {
        let mut rest = text.chars();
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => {
                let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                ends.any(|at| matches_by_definition(&pattern[1..], &text[at..]))
            }
            Some(first) => {
                let is_match = |found| first == '?' || first == found;
                rest.next().is_some_and(is_match)
                    && matches_by_definition(&pattern[first.len_utf8()..], rest.as_str())
            }
        }
    }

    proptest! {
        #[test]
        fn matches_as_defined(pattern in "[abé*?]{0,7}", text in "[abé*]{0,8}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), matches_by_definition(&pattern, &text));
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Glob::new(&("a*".repeat(500) + "b"));
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
