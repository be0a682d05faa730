//! Series of metric vectors whose labels come and go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The label values of a vector's current series.
///
/// Outdated series are removed one by one after the current ones have been set. A reset of the
/// vector instead would let a scrape find it empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesSet(Arc<Mutex<BTreeSet<Vec<String>>>>);

impl SeriesSet {
    /// Replaces the set by `current`, whose series have been set, and calls `remove` with the
    /// label values of each outdated series.
    pub(crate) fn replace(&self, current: BTreeSet<Vec<String>>, remove: impl Fn(&[&str])) {
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for labels in series.difference(&current) {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            remove(&labels);
        }
        *series = current;
    }
}
