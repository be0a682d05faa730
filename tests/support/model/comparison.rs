//! Compares terminal events with those that the model expects.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ending, Expected};

impl Expected {
    /// Returns those of the endings that the log determines.
    pub fn certain(&self, mut endings: Vec<Ending>) -> Vec<Ending> {
        endings.retain(|ending| !self.doubtful.contains(&ending.session));
        endings
    }

    /// # Panics
    /// Unless these are exactly the terminal events that were expected.
    pub fn compare(&self, found: Vec<Ending>) {
        let expected = self.certain(self.endings.clone());
        let all = found;
        let mut found = self.certain(all.clone());
        found.sort();
        let missing: Vec<_> = difference(&expected, &found);
        let extra: Vec<_> = difference(&found, &expected);
        assert!(
            missing.is_empty() && extra.is_empty(),
            "of {} endings\nmissing: {missing:#?}\nnot expected, or once too often: {extra:#?}\nlog: {:#?}",
            expected.len(),
            self.history(missing.iter().chain(&extra))
        );
        self.check_displaced(&all);
        assert!(
            expected.len() * 2 >= self.endings.len(),
            "the log determines only {} of {} endings",
            expected.len(),
            self.endings.len()
        );
        assert!(
            self.late.len() * 5 <= self.endings.len(),
            "this machine is too slow for timeouts this short: of {} endings, {} may go either way",
            self.endings.len(),
            self.late.len()
        );
    }

    /// Checks that no session whose events were far out of order has ended while its user was active.
    fn check_displaced(&self, found: &[Ending]) {
        for ending in found.iter().filter(|one| !self.late.contains(&one.session)) {
            let Some(times) = self.displaced.get(&ending.session) else {
                continue;
            };
            let last = ending.last_activity.unwrap_or(ending.ended_at);
            let is_active = |at: &i64| last < *at && *at < ending.ended_at;
            assert!(
                !times.iter().any(is_active),
                "active: {ending:?}, {times:?}\nlog: {:#?}",
                self.history([ending].into_iter())
            );
        }
    }

    /// What the log has of the sessions of these endings, and of many sessions at once.
    fn history<'a>(&self, endings: impl Iterator<Item = &'a Ending>) -> Vec<&str> {
        let sessions: BTreeSet<_> = endings.map(|ending| &*ending.session).collect();
        let concerns = |line: &&str| {
            !line.contains("session_id") || sessions.iter().any(|session| line.contains(session))
        };
        self.log
            .iter()
            .map(String::as_str)
            .filter(concerns)
            .collect()
    }
}

/// What is in one list and not, or not as often, in the other.
pub fn difference(these: &[Ending], those: &[Ending]) -> Vec<Ending> {
    let mut left = BTreeMap::<&Ending, usize>::new();
    for ending in those {
        *left.entry(ending).or_default() += 1;
    }
    let is_extra = |ending: &&Ending| match left.get_mut(*ending) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    these.iter().filter(is_extra).cloned().collect()
}
