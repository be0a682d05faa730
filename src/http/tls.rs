//! TLS of servers. A certificate that is renewed in its file is used without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::install_crypto_provider;
use crate::clock::Clock;

/// Interval at which a handshake reads the files again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Bounds a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate of a server and its key, in files.
pub struct ServerIdentity {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
    clock: Clock,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// When the files were read, on the clock.
    at: Duration,
}

impl ServerIdentity {
    /// Reads the files: the certificate with its chain, and the key, both in PEM.
    ///
    /// # Errors
    /// If a file cannot be read or has neither, or the key is not that of the certificate.
    pub fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        install_crypto_provider();
        let config = load(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            loaded: Mutex::new(Loaded {
                config,
                at: Duration::ZERO,
            }),
            clock: Clock::default(),
        })
    }

    /// Reads the files of two flags; `None` without them.
    ///
    /// # Errors
    /// As [`ServerIdentity::read`].
    pub fn of_flags(
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return Ok(None);
        };
        Self::read(certificate, key).map(|identity| Some(Arc::new(identity)))
    }

    /// Accepts a connection; `None` if the handshake fails, which only its client sees.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(self.current()).accept(stream);
        let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
        match accepted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    /// The present certificate; the previous one while the files are being replaced.
    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        if now.saturating_sub(loaded.at) >= RELOAD_INTERVAL {
            loaded.at = now;
            match load(&self.certificate, &self.key) {
                Ok(config) => loaded.config = config,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "keeping the previous certificate of the server");
                }
            }
        }
        Arc::clone(&loaded.config)
    }
}

fn load(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let unreadable = |path: &Path| format!("cannot read {} as PEM", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| unreadable(certificate))?;
    if chain.is_empty() {
        bail!("{} has no certificate", certificate.display());
    }
    let key_der = PrivateKeyDer::from_pem_file(key).with_context(|| unreadable(key))?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, key_der).with_context(|| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("the key in {key} does not belong to the certificate in {certificate}")
    })?;
    Ok(Arc::new(config))
}
