//! State shared by all requests.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::audit::AuditLog;
use super::dead_letters::DeadLetterProcessor;
use super::explorer::Explorer;
use super::live::Live;
use super::proxy::BasePath;
use super::redact::Redactor;
use super::revocation::Revoker;
use super::security::Security;
use crate::kafka::Topics;
use crate::policy::pause_writer::PauseWriter;
use crate::session_lookup::search::Searcher;

/// State shared by all requests; handlers extract it as `State<Arc<AppState>>`.
#[derive(Debug)]
pub struct AppState {
    /// The current state of the installation.
    pub live: Live,
    pub security: Security,
    pub audit: Arc<AuditLog>,
    pub redactor: Redactor,
    pub topics: Topics,
    /// Where a proxy serves the pages.
    pub base_path: BasePath,
    pub explorer: Explorer,
    pub revoker: Revoker,
    pub dead_letters: DeadLetterProcessor,
    pub pauses: PauseWriter,
    pub searcher: Searcher,
    /// Limits concurrent session lookups.
    pub lookups: Semaphore,
    /// Limits pages with an open event stream.
    pub streams: Arc<Semaphore>,
}
