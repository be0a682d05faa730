//! Detects changed credential files.
//!
//! Strimzi, cert-manager and vault agents renew certificates and passwords of running
//! processes. librdkafka reads the files when a client is created, so a role has to recreate
//! its clients.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use super::trust::certificate_files;

/// Interval at which the files are read. Kubernetes replaces mounted secrets through
/// symbolic links, which file watches miss.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Files of certificates, keys and passwords, and directories of certificates.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    files: Vec<PathBuf>,
}

impl CredentialFiles {
    #[must_use]
    pub const fn new(files: Vec<PathBuf>) -> Self {
        Self { files }
    }

    /// Waits until the contents differ from those at the call and are stable between two
    /// polls: a certificate and its key may be written one after the other. Waits forever if
    /// there are no files.
    pub async fn changed(&self) {
        let before = self.digest();
        let mut last = before;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let now = self.digest();
            // A file may be missing while it is being replaced.
            if now.is_some() && now != before && now == last {
                return;
            }
            last = now;
        }
    }

    /// A digest of all files; `None` if one cannot be read.
    fn digest(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for path in &self.files {
            let contents: io::Result<Vec<_>> =
                certificate_files(path).and_then(|files| files.iter().map(fs::read).collect());
            contents.ok()?.hash(&mut hasher);
        }
        Some(hasher.finish())
    }
}
