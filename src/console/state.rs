//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::explorer::Explorer;
use super::live::Live;
use super::redact::Redactor;
use super::redrive::Redriver;
use super::revocation::Revoker;
use super::security::Security;
use crate::kafka::Topics;
use crate::policy::pauses::PauseWriter;
use crate::session_lookup::search::Searcher;

/// What all requests share.
pub type App = Arc<AppState>;

/// What all requests share.
#[derive(Debug)]
pub struct AppState {
    /// What is known.
    pub live: Live,
    /// Who may see and change what.
    pub security: Security,
    /// Whether ids are shown.
    pub redactor: Redactor,
    /// The topics' names.
    pub topics: Topics,
    /// Reads records.
    pub explorer: Explorer,
    /// Ends sessions.
    pub revoker: Revoker,
    /// Deals with dead letters.
    pub redriver: Redriver,
    /// Pauses and resumes partitions.
    pub pauses: PauseWriter,
    /// Asks trackers for sessions.
    pub searcher: Searcher,
    /// Places for questions to trackers.
    pub lookups: Semaphore,
    /// Places for pages that update themselves.
    pub streams: Arc<Semaphore>,
}
