//! When the certificates run out that a process shows to the brokers and trusts.
//!
//! Files that change have the role start over, which registers anew: what is read once
//! stays right.

use prometheus::{Error, IntGaugeVec, Opts, Registry};

use crate::kafka::ConnectionArgs;

/// Shows when the certificates of the connection run out. Of a file with several, the first
/// that does.
///
/// # Errors
/// If the registry has the metric already.
pub fn register(registry: &Registry, connection: &ConnectionArgs) -> Result<(), Error> {
    let about = Opts::new(
        "sundown_certificate_expiry_timestamp_seconds",
        "When the client's certificate or that of a trusted authority runs out, in seconds since 1970.",
    );
    let expiry = IntGaugeVec::new(about, &["certificate"])?;
    for (certificate, file) in [
        ("client", &connection.tls_cert_file),
        ("authority", &connection.tls_ca_file),
    ] {
        // What cannot be read, librdkafka will complain of.
        let pem = file.as_ref().and_then(|file| std::fs::read(file).ok());
        if let Some(seconds) = pem.and_then(|pem| first_expiry(&pem)) {
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

/// Without TLS there is nothing that runs out.
#[cfg(not(feature = "tls"))]
fn first_expiry(_pem: &[u8]) -> Option<i64> {
    None
}
