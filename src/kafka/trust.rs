//! Trusted certificate authorities: those of a file, of a directory, or of the system.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use rdkafka::ClientConfig;

use crate::bounded;

/// Limit on a file of certificates, in bytes. A system's bundle has a quarter of it.
const MAX_CERTIFICATES_BYTES: u64 = 1 << 20;
/// Limit on the files of a directory.
const MAX_FILES: usize = 1000;

/// The files of certificates that `path` stands for: itself, or every `*.crt` and `*.pem` in it,
/// in the order of their names. Strimzi keeps an authority that is being replaced beside the new
/// one, in a secret that is mounted as a directory.
///
/// # Errors
/// If the directory cannot be read, has no such file, or more than a thousand.
pub fn certificate_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("crt" | "pem")) && file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::other(format!("more than {MAX_FILES} files")));
        }
    }
    if files.is_empty() {
        return Err(io::Error::other("no file in it ends in .crt or .pem"));
    }
    files.sort();
    Ok(files)
}

/// A server whose certificate is verified.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Broker,
    /// Of tokens for SASL OAUTHBEARER.
    TokenEndpoint,
}

impl Peer {
    /// The properties that take a file, and certificates in PEM.
    const fn properties(self) -> (&'static str, &'static str) {
        match self {
            Self::Broker => ("ssl.ca.location", "ssl.ca.pem"),
            Self::TokenEndpoint => ("https.ca.location", "https.ca.pem"),
        }
    }
}

/// Trusts the authorities of `path`, or the system's without one.
///
/// # Errors
/// As [`certificate_files`], or if a file of a directory cannot be read. librdkafka reports a
/// single file that cannot be read.
pub(super) fn configure(
    config: &mut ClientConfig,
    peer: Peer,
    path: Option<&Path>,
) -> io::Result<()> {
    let (location, pem) = peer.properties();
    match path {
        Some(directory) if directory.is_dir() => {
            let mut certificates = String::new();
            for file in certificate_files(directory)? {
                certificates += &bounded::read_text_file(&file, MAX_CERTIFICATES_BYTES)?;
                certificates.push('\n');
            }
            config.set(pem, certificates);
        }
        Some(file) => {
            config.set(location, file.to_string_lossy());
        }
        None => configure_by_environment(config, peer)?,
    }
    Ok(())
}

/// Trusts what the variables of OpenSSL name, or else the system's authorities. librdkafka itself
/// prefers the system's to the variables, because OpenSSL is linked statically.
fn configure_by_environment(config: &mut ClientConfig, peer: Peer) -> io::Result<()> {
    let (location, pem) = peer.properties();
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let directories = variable("SSL_CERT_DIR");
    let directories: Vec<_> = directories.iter().flat_map(env::split_paths).collect();
    match (variable("SSL_CERT_FILE"), directories.as_slice()) {
        (None, []) => config.set(location, "probe"),
        (Some(file), []) => config.set(location, file.to_string_lossy()),
        (None, [directory]) => config.set(location, directory.to_string_lossy()),
        (file, directories) => {
            let file = file.as_deref().map(Path::new);
            config.set(pem, certificates_of(file, directories)?)
        }
    };
    Ok(())
}

/// The certificates of a file and of directories. As OpenSSL does, passes over directories that do not
/// exist or have none.
fn certificates_of(file: Option<&Path>, directories: &[PathBuf]) -> io::Result<String> {
    let existing = directories.iter().filter(|path| path.is_dir());
    let found = existing.map(|path| certificate_files(path));
    let files = found.flat_map(Result::unwrap_or_default);
    let mut certificates = String::new();
    for file in file.map(Path::to_owned).into_iter().chain(files) {
        certificates += &bounded::read_text_file(&file, MAX_CERTIFICATES_BYTES)?;
        certificates.push('\n');
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let error = certificate_files(directory.path()).unwrap_err();
        assert!(error.to_string().contains(".crt"), "{error}");
        for name in ["ca.crt", "ca-2026-11-28.crt", "other.pem", "ca.p12"] {
            fs::write(path(name), name).unwrap();
        }
        fs::create_dir(path("directory.crt")).unwrap();
        assert_eq!(
            certificate_files(directory.path()).unwrap(),
            ["ca-2026-11-28.crt", "ca.crt", "other.pem"].map(path)
        );
        assert_eq!(
            certificate_files(&path("ca.p12")).unwrap(),
            [path("ca.p12")]
        );

        let missing = directory.path().join("missing");
        let directories = [missing, directory.path().to_owned()];
        let file = Some(path("ca.p12"));
        let found = certificates_of(file.as_deref(), &directories);
        assert!(found.unwrap().starts_with("ca.p12\nca-2026-11-28.crt\n"));

        let mut config = ClientConfig::new();
        for peer in [Peer::Broker, Peer::TokenEndpoint] {
            configure(&mut config, peer, Some(directory.path())).unwrap();
            let trusted = config.get(peer.properties().1);
            assert_eq!(trusted, Some("ca-2026-11-28.crt\nca.crt\nother.pem\n"));
        }
    }
}
