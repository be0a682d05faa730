//! Redrives and discards of dead letters, as by `sundown dlq`.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::dead_letters;
use crate::dead_letters::Disposition;
use crate::dead_letters::process::ProcessSummary;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;

/// Limit on the dead letters that a request processes.
pub const MAX_PROCESSED: usize = 1_000;

/// Redrives and discards dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterProcessor {
    global: Arc<GlobalArgs>,
    /// A single permit: concurrent producers would fence each other.
    permit: Arc<Semaphore>,
}

impl DeadLetterProcessor {
    #[must_use]
    pub fn new(global: GlobalArgs) -> Self {
        Self {
            global: Arc::new(global),
            permit: Arc::new(Semaphore::new(1)),
        }
    }

    /// Processes the selected dead letters, [`MAX_PROCESSED`] at most. A dry run only finds
    /// them.
    ///
    /// # Errors
    /// [`Problem::Busy`] during another request, [`Problem::Kafka`] if the brokers cannot be
    /// reached or refuse.
    pub async fn process(
        &self,
        disposition: Disposition,
        mut selection: SelectionArgs,
    ) -> Result<ProcessSummary, Problem> {
        let permit = Arc::clone(&self.permit).try_acquire_owned();
        let permit = permit.map_err(|_| Problem::Busy)?;
        let limit = selection.filter.limit.unwrap_or(MAX_PROCESSED);
        selection.filter.limit = Some(limit.min(MAX_PROCESSED));
        let global = Arc::clone(&self.global);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = dead_letters::process(disposition, &selection, &global);
            drop(permit);
            outcome
        });
        let outcome = task.await.map_err(anyhow::Error::from).flatten();
        outcome.map_err(|error| Problem::Kafka(crate::output::chain(error.as_ref())))
    }
}
