//! Expiry of the certificates that a process presents to the brokers or trusts.
//!
//! A role restarts when the files change and registers the metric again, so reading them once
//! is enough.

use prometheus::{Error, IntGaugeVec, Opts, Registry};

use crate::kafka::{ConnectionArgs, certificate_files};

/// Registers the expiry of the connection's certificates, the earliest one of each file.
///
/// # Errors
/// If the registry already has the metric.
pub fn register(registry: &Registry, connection: &ConnectionArgs) -> Result<(), Error> {
    let opts = Opts::new(
        "sundown_certificate_expiry_timestamp_seconds",
        "Expiry of the client certificate and of the trusted certificate authorities, in seconds since 1970.",
    );
    let expiry = IntGaugeVec::new(opts, &["certificate"])?;
    for (certificate, file) in [
        ("client", &connection.tls_cert_file),
        ("authority", &connection.tls_ca_file),
    ] {
        // librdkafka reports files that cannot be read.
        let files = file.as_ref().and_then(|file| certificate_files(file).ok());
        let pems = files
            .into_iter()
            .flatten()
            .filter_map(|file| std::fs::read(file).ok());
        if let Some(seconds) = pems.filter_map(|pem| first_expiry(&pem)).min() {
            expiry.with_label_values(&[certificate]).set(seconds);
        }
    }
    registry.register(Box::new(expiry))
}

#[cfg(feature = "tls")]
fn first_expiry(pem: &[u8]) -> Option<i64> {
    use openssl::asn1::Asn1Time;
    use openssl::x509::X509;

    let epoch = Asn1Time::from_unix(0).ok()?;
    let certificates = X509::stack_from_pem(pem).ok()?;
    let expiries = certificates.iter().filter_map(|certificate| {
        let since = epoch.diff(certificate.not_after()).ok()?;
        Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
    });
    expiries.min()
}

#[cfg(not(feature = "tls"))]
fn first_expiry(_pem: &[u8]) -> Option<i64> {
    None
}
