//! Files of certificate authorities that clients trust.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::clock::Clock;

/// How the verifier names the error.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Reads a PEM file and checks that it has certificates.
///
/// OpenSSL lets a server present a certificate that is marked as a certificate authority, as plain
/// `openssl req -x509` makes it. The TLS library of this program does not, so such a certificate
/// of `host` is refused here rather than at each connection.
///
/// # Errors
/// If the file cannot be read, has no certificate, or has such a certificate of `host`.
pub fn read(path: &Path, host: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates =
        certificates.with_context(|| format!("{} is not a PEM file", path.display()))?;
    if certificates.is_empty() {
        bail!("{} has no certificate in PEM", path.display());
    }
    // IPv6 addresses have brackets in URLs.
    let host = host.map(|host| host.trim_matches(['[', ']']));
    let name = host.and_then(|host| ServerName::try_from(host).ok());
    if let Some(name) = name
        && certificates
            .iter()
            .any(|certificate| is_ca_of_server(certificate, &name))
    {
        bail!(
            "{} is the certificate of {} itself and is marked as a certificate authority \
             ({CA_AS_SERVER}), which TLS clients need not accept; create it with \
             `openssl req -x509 -addext basicConstraints=critical,CA:FALSE …`, or have it issued \
             by an authority and name that authority here",
            path.display(),
            name.to_str()
        );
    }
    Ok(pem)
}

/// Returns whether the certificate is valid for the server but for being a certificate authority.
fn is_ca_of_server(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(parsed) = rustls::server::ParsedCertificate::try_from(certificate) else {
        return false;
    };
    if rustls::client::verify_server_name(&parsed, name).is_err() {
        return false;
    }
    let mut roots = RootCertStore::empty();
    if roots.add(certificate.clone()).is_err() {
        return false;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    // Whether it has expired does not matter here.
    verifier.is_ok_and(|verifier| {
        let now = u64::try_from(Clock::default().wall().as_millis()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let verified = verifier.verify_server_cert(certificate, &[], name, &[], now);
        verified.is_err_and(|error| format!("{error:?}").contains(CA_AS_SERVER))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    /// A self-signed certificate of `localhost` and 127.0.0.1 by OpenSSL.
    fn self_signed(folder: &TempDir, more: &[&str]) -> std::path::PathBuf {
        let file = folder.path().join("certificate.pem");
        let status = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=server"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(more)
            .arg("-keyout")
            .arg(folder.path().join("key.pem"))
            .arg("-out")
            .arg(&file)
            .output();
        assert!(status.expect("openssl is installed").status.success());
        file
    }

    #[test]
    fn the_certificate_of_the_server_must_not_be_an_authority() {
        let folder = TempDir::new().unwrap();
        let file = self_signed(&folder, &[]);
        for host in ["localhost", "127.0.0.1"] {
            let error = read(&file, Some(host)).unwrap_err().to_string();
            assert!(error.contains("CaUsedAsEndEntity"), "{error}");
            assert!(error.contains("CA:FALSE"), "{error}");
        }
        assert!(read(&file, Some("other.example")).is_ok(), "an authority");
        assert!(read(&file, None).is_ok());
    }

    #[test]
    fn a_self_signed_certificate_of_a_server_is_accepted() {
        let folder = TempDir::new().unwrap();
        let no_authority = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let file = self_signed(&folder, &no_authority);
        assert!(read(&file, Some("localhost")).is_ok());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("empty.pem");
        fs::write(&file, "nothing").unwrap();
        let error = read(&file, None).unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
