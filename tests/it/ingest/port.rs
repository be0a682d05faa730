//! An ingest process that takes events over HTTP.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::start_ingest;
use crate::console::client::{Client, HttpResponse};
use crate::redis::free_port;
use crate::support::installation::Installation;
use crate::support::role::RoleProcess;

pub(super) const SECRET: &str = "0123456789abcdef";
pub(super) const PUBLIC: &str = "fedcba9876543210";

/// An ingest process with an HTTP port.
pub(super) struct Port {
    pub(super) client: Client,
    pub(super) ingest: RoleProcess,
    pub(super) tokens: TempDir,
}

impl Port {
    /// Pages of `origin` may send events.
    pub(super) fn start(installation: &Installation<'_>, origin: &str, args: &[&str]) -> Self {
        let tokens = tempfile::tempdir().expect("a folder");
        let folder = |name: &str, token: &str| {
            let path = tokens.path().join(format!("{name}s"));
            fs::create_dir(&path).expect("a folder");
            fs::write(path.join(name), token).expect("a token");
            path
        };
        let (secret, public) = (folder("app", SECRET), folder("page", PUBLIC));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let (secret, public) = (text(&secret), text(&public));
        let own = [
            "--http-listen",
            &listen,
            "--http-tokens",
            &secret,
            "--http-public-tokens",
            &public,
            "--http-allowed-origin",
            origin,
        ];
        let ingest = start_ingest(installation, &[&own, args].concat());
        ingest.await_ready();
        Self {
            client: Client::new(port),
            ingest,
            tokens,
        }
    }

    pub(super) fn post(&self, content_type: &str, body: &str) -> HttpResponse {
        let bearer = format!("Bearer {SECRET}");
        let headers = [("content-type", content_type), ("authorization", &bearer)];
        self.client.send("POST", "/v1/events", &headers, body)
    }
}
