//! Which series of a vector are shown, where they come and go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The labels that are shown. Those that are not any more are removed one by one after the
/// others have been set: between a reset and that, a scrape would find nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<BTreeSet<Vec<String>>>>);

impl Shown {
    /// `now` has been set; what was shown before and is not in it is removed.
    pub(crate) fn replace(&self, now: BTreeSet<Vec<String>>, remove: impl Fn(&[&str])) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for labels in shown.difference(&now) {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            remove(&labels);
        }
        *shown = now;
    }
}
