//! Trying dead letters again, or letting go of them, as `sundown dlq` does.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::dead_letters;
use crate::dead_letters::Disposition;
use crate::dead_letters::process::ProcessSummary;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;

/// The most letters that one request deals with.
pub const MAX_LETTERS: usize = 1_000;

/// Deals with dead letters.
#[derive(Clone, Debug)]
pub struct Redriver {
    global: Arc<GlobalArgs>,
    /// Two at once would fence each other.
    place: Arc<Semaphore>,
}

impl Redriver {
    /// Deals with those of this installation.
    #[must_use]
    pub fn new(global: GlobalArgs) -> Self {
        Self {
            global: Arc::new(global),
            place: Arc::new(Semaphore::new(1)),
        }
    }

    /// Deals with the letters that are meant, [`MAX_LETTERS`] at most, or only finds them.
    ///
    /// # Errors
    /// [`Problem::Busy`] while another request does, [`Problem::Kafka`] if the cluster
    /// cannot be reached or refuses.
    pub async fn redrive(
        &self,
        disposition: Disposition,
        mut selection: SelectionArgs,
    ) -> Result<ProcessSummary, Problem> {
        let place = Arc::clone(&self.place).try_acquire_owned();
        let place = place.map_err(|_| Problem::Busy)?;
        let limit = selection.filter.limit.unwrap_or(MAX_LETTERS);
        selection.filter.limit = Some(limit.min(MAX_LETTERS));
        let global = Arc::clone(&self.global);
        let treating = tokio::task::spawn_blocking(move || {
            let outcome = dead_letters::process(disposition, &selection, &global);
            drop(place);
            outcome
        });
        let outcome = treating.await.map_err(anyhow::Error::from).flatten();
        outcome.map_err(|error| Problem::Kafka(crate::output::chain(error.as_ref())))
    }
}
