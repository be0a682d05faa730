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

/// Trusts the authorities of `path`, or the system's without one.
///
/// # Errors
/// As [`certificate_files`], or if a file of a directory cannot be read. librdkafka reports a
/// single file that cannot be read.
pub(super) fn configure(config: &mut ClientConfig, path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(directory) if directory.is_dir() => {
            let mut certificates = String::new();
            for file in certificate_files(directory)? {
                certificates += &bounded::read_text_file(&file, MAX_CERTIFICATES_BYTES)?;
                certificates.push('\n');
            }
            config.set("ssl.ca.pem", certificates);
        }
        Some(file) => {
            config.set("ssl.ca.location", file.to_string_lossy());
        }
        // OpenSSL is linked statically and knows no distribution's directory; it reads these.
        None if env::var_os("SSL_CERT_FILE").is_some() || env::var_os("SSL_CERT_DIR").is_some() => {
        }
        None => {
            config.set("ssl.ca.location", "probe");
        }
    }
    Ok(())
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

        let mut config = ClientConfig::new();
        configure(&mut config, Some(directory.path())).unwrap();
        let trusted = config.get("ssl.ca.pem");
        assert_eq!(trusted, Some("ca-2026-11-28.crt\nca.crt\nother.pem\n"));
    }
}
