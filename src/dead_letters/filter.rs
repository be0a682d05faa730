//! Filters of dead letters.

use clap::Args;

use super::letter::DeadLetter;
use crate::dead_letters::kind::DeadLetterKind;
use crate::session::{Span, Timestamp};
use crate::wire::duration;

/// Flags that filter dead letters. A letter must match all of them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Select letters of this kind only. Defaults to both kinds.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<DeadLetterKind>,

    /// Select letters with this reason, such as `exhausted`; can be repeated.
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,

    /// Select letters with this pending action; can be repeated.
    #[arg(long, value_name = "NAME")]
    pub action: Vec<String>,

    /// Select letters of this session.
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,

    /// Select letters older than this.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub older_than: Option<Span>,

    /// Select letters newer than this.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub newer_than: Option<Span>,

    /// Maximum number of letters, taken from each partition oldest first.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

impl FilterArgs {
    /// The kinds that match.
    pub(crate) fn kinds(&self) -> Vec<DeadLetterKind> {
        match self.kind {
            Some(kind) => vec![kind],
            None => DeadLetterKind::ALL.to_vec(),
        }
    }

    /// The maximum number of letters.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// Whether a letter matches all filters.
    pub(crate) fn matches(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let one_of = |wanted: &[String], value: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
        };
        let action = self.action.is_empty()
            || letter
                .pending_actions()
                .any(|name| self.action.iter().any(|wanted| wanted == name));
        let session = self.session.is_none() || self.session == letter.session();
        let older = self.older_than.is_none_or(|age| letter.at + age <= now);
        let newer = self.newer_than.is_none_or(|age| letter.at + age > now);
        one_of(&self.reason, letter.reason()) && action && session && older && newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::letter::DeadLetterId;
    use crate::kafka::headers::ReadableHeaders;
    use crate::wire::dead_letter::{PENDING_ACTIONS, REASON};

    fn letter() -> DeadLetter {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        DeadLetter {
            id: DeadLetterId {
                topic: "t".to_owned(),
                partition: 0,
                offset: 0,
            },
            at: Timestamp::from_millis(60_000),
            key: Some(b"key".to_vec()),
            value: Some(br#"{"session_id":"s-1"}"#.to_vec()),
            // The first header was set by an application that uses the same name.
            headers: ReadableHeaders {
                list: vec![
                    header(REASON, "theirs"),
                    header(REASON, "exhausted"),
                    header(PENDING_ACTIONS, "notify,revoke"),
                ],
                unreadable: 0,
            },
            all_headers: None,
        }
    }

    #[test]
    fn a_letter_has_to_match_every_filter() {
        let now = Timestamp::from_millis(180_000);
        let minutes = |minutes: i64| Some(Span::from_secs(60 * minutes));
        let text = |text: &str| vec!["other".to_owned(), text.to_owned()];
        let matches = |filter: FilterArgs| filter.matches(&letter(), now);
        let all = FilterArgs {
            reason: text("exhausted"),
            action: text("revoke"),
            session: Some("s-1".to_owned()),
            older_than: minutes(2),
            newer_than: minutes(3),
            ..FilterArgs::default()
        };
        assert!(matches(FilterArgs::default()));
        assert!(matches(all.clone()));
        for wrong in [
            FilterArgs {
                reason: text("theirs"),
                ..all.clone()
            },
            FilterArgs {
                action: text("rev"),
                ..all.clone()
            },
            FilterArgs {
                session: Some("key".to_owned()),
                ..all.clone()
            },
            FilterArgs {
                older_than: minutes(3),
                ..all.clone()
            },
            FilterArgs {
                newer_than: minutes(2),
                ..all
            },
        ] {
            assert!(!matches(wrong.clone()), "{wrong:?}");
        }
    }
}
