//! Files of certificate authorities that clients trust.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore};

use crate::clock::Clock;

/// How the verifier names the error.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Reads a PEM file and checks that it has certificates.
///
/// OpenSSL, and so curl, trusts a server's own certificate in such a file in cases where the TLS
/// library of this program does not: it is marked as a certificate authority and names the server
/// as common name alone, as plain `openssl req -x509` makes it, or its issuer is missing. Such a
/// certificate of `host` is refused here rather than at each connection.
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
    if let Some(name) = name {
        for certificate in &certificates {
            if let Some(problem) = problem_of_server(certificate, &name, &certificates) {
                bail!(
                    "{} is the certificate of {} itself {problem}",
                    path.display(),
                    name.to_str()
                );
            }
        }
    }
    Ok(pem)
}

/// Returns why no TLS connection accepts the certificate, if it is that of the server itself.
fn problem_of_server(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    authorities: &[CertificateDer<'_>],
) -> Option<String> {
    const REMEDY: &str = "create it with `openssl req -x509 -addext subjectAltName=DNS:NAME \
                          -addext basicConstraints=critical,CA:FALSE …`, or have it issued by an \
                          authority and name that authority here";
    let is_its_own = match ParsedCertificate::try_from(certificate) {
        Ok(parsed) => match verify_server_name(&parsed, name) {
            Ok(()) => true,
            // An authority may have the name of a host, but then it has no other one.
            Err(TlsError::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) => presented.is_empty() && has_common_name(certificate, &name.to_str()),
            Err(_) => false,
        },
        Err(_) => has_common_name(certificate, &name.to_str()),
    };
    if !is_its_own {
        return None;
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let now = u64::try_from(Clock::default().wall().as_millis()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
    let verified = verifier
        .ok()?
        .verify_server_cert(certificate, &[], name, &[], now);
    let error = format!("{:?}", verified.err()?);
    if error.contains(CA_AS_SERVER) {
        Some(format!(
            "and is marked as a certificate authority ({CA_AS_SERVER}), which TLS clients need not \
             accept; {REMEDY}"
        ))
    } else if error.contains("UnknownIssuer") {
        Some(
            "and was issued by an authority (UnknownIssuer); name the certificate of that \
             authority here"
                .to_owned(),
        )
    } else if error.contains("NotValidForName") {
        Some(format!(
            "and lacks subjectAltName (NotValidForName); {REMEDY}"
        ))
    } else if error.contains("Version") {
        Some(format!("and is not of version 3 ({error}); {REMEDY}"))
    } else {
        // Whether it has expired does not matter here.
        None
    }
}

/// Returns whether the certificate's subject has this common name.
fn has_common_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    /// The object identifier 2.5.4.3 in DER.
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let mut roots = RootCertStore::empty();
    if roots.add(certificate.clone().into_owned()).is_err() {
        return false;
    }
    let subject = roots.roots.first().map(|root| root.subject.as_ref());
    let subject = subject.unwrap_or_default();
    let mut names = subject.windows(COMMON_NAME.len()).enumerate();
    names.any(|(at, window)| {
        // Then come a tag, the length, and the text.
        let rest = subject.get(at + COMMON_NAME.len() + 1..);
        let text = rest.and_then(|rest| rest.get(1..=usize::from(*rest.first()?)));
        window == COMMON_NAME && text == Some(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    /// Runs OpenSSL in `folder`.
    fn openssl(folder: &TempDir, arguments: &str) {
        let mut command = Command::new("openssl");
        let command = command
            .args(arguments.split(' '))
            .current_dir(folder.path());
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "{output:?}");
    }

    /// A self-signed certificate by OpenSSL.
    fn self_signed(folder: &TempDir, more: &str) -> std::path::PathBuf {
        openssl(
            folder,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
                 -keyout key.pem -out certificate.pem {more}"
            ),
        );
        folder.path().join("certificate.pem")
    }

    fn refusal(file: &Path, host: &str) -> String {
        read(file, Some(host)).unwrap_err().to_string()
    }

    const NAMES: &str = "-subj /CN=server -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
    const NO_AUTHORITY: &str = "-addext basicConstraints=critical,CA:FALSE";

    #[test]
    fn the_certificate_of_the_server_must_not_be_an_authority() {
        let folder = TempDir::new().unwrap();
        let file = self_signed(&folder, NAMES);
        for host in ["localhost", "127.0.0.1"] {
            let error = refusal(&file, host);
            assert!(error.contains("CaUsedAsEndEntity"), "{error}");
            assert!(error.contains("CA:FALSE"), "{error}");
        }
        assert!(read(&file, Some("other.example")).is_ok(), "an authority");
        assert!(read(&file, None).is_ok());
    }

    #[test]
    fn the_certificate_of_the_server_needs_more_than_a_common_name() {
        let folder = TempDir::new().unwrap();
        for more in ["", NO_AUTHORITY] {
            let subject = format!("-subj /O=x/CN=redis.internal/OU=y {more}");
            let file = self_signed(&folder, subject.trim_end());
            let error = refusal(&file, "redis.internal");
            assert!(error.contains("subjectAltName"), "{error}");
            assert!(read(&file, Some("internal")).is_ok(), "an authority");
        }
    }

    #[test]
    fn the_certificate_of_the_server_needs_its_issuer() {
        let folder = TempDir::new().unwrap();
        let authority = self_signed(&folder, "-subj /CN=authority");
        openssl(
            &folder,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
             -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
        );
        openssl(
            &folder,
            "x509 -req -in server.csr -CA certificate.pem -CAkey key.pem -days 1 \
             -copy_extensions copy -out server.pem",
        );
        let server = folder.path().join("server.pem");
        let error = refusal(&server, "localhost");
        assert!(error.contains("UnknownIssuer"), "{error}");
        let chain = [fs::read(&server).unwrap(), fs::read(authority).unwrap()].concat();
        fs::write(&server, chain).unwrap();
        assert!(read(&server, Some("localhost")).is_ok());
    }

    #[test]
    fn a_self_signed_certificate_of_a_server_is_accepted() {
        let folder = TempDir::new().unwrap();
        let file = self_signed(&folder, &format!("{NAMES} {NO_AUTHORITY}"));
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
