//! Credentials in files, looked at for as long as a process runs.
//!
//! Certificates are renewed and passwords changed under running processes: by Strimzi, by
//! cert-manager, by a vault's agent. librdkafka reads the files when a client is made, so
//! a role has to make its clients anew.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

/// How often the files are looked at. Looking beats being told: a mounted secret is
/// replaced through symbolic links, which file watches miss.
const INTERVAL: Duration = Duration::from_secs(2);

/// The files that a process has its credentials from.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    files: Vec<PathBuf>,
}

impl CredentialFiles {
    /// These files.
    #[must_use]
    pub const fn new(files: Vec<PathBuf>) -> Self {
        Self { files }
    }

    /// Waits until what is in the files is no longer what it was at the call, and stays
    /// the same for a moment: a certificate and its key may be written one after the
    /// other. Waits for ever if there are no files.
    pub async fn changed(&self) {
        let before = self.contents();
        let mut last = before;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = self.contents();
            // A file that is being replaced may be gone for a moment.
            if now.is_some() && now != before && now == last {
                return;
            }
            last = now;
        }
    }

    /// A digest of all of it; `None` while a file cannot be read.
    fn contents(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        let contents: io::Result<Vec<_>> = self.files.iter().map(fs::read).collect();
        contents.ok()?.hash(&mut hasher);
        Some(hasher.finish())
    }
}
