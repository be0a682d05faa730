//! Redis from the system, one server to a test.

use std::fmt::Display;
use std::net::TcpListener;
use std::time::Duration;

use redis::Commands;
use tempfile::TempDir;

use crate::support::process::{Launch, Process};
use crate::support::wait::eventually;
use crate::tls::Identity;

/// For a server to start.
const SOON: Duration = Duration::from_secs(60);

/// A server that ends when dropped.
pub struct RedisServer {
    port: u16,
    tls_port: Option<u16>,
    _process: Process,
    _folder: TempDir,
}

impl RedisServer {
    pub fn start(extra: &[&str]) -> Self {
        Self::launch(extra, None)
    }

    /// One that also listens with TLS.
    pub fn start_with(identity: &Identity) -> Self {
        Self::launch(&[], Some(identity))
    }

    fn launch(extra: &[&str], identity: Option<&Identity>) -> Self {
        assert!(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join("redis-server").exists()),
            "redis-server is not installed; apt-get install redis-server"
        );
        let folder = TempDir::new().unwrap();
        let (port, tls_port) = (free_port(), identity.map(|_| free_port()));
        let mut launch = Launch::program("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--dir"])
            .arg(folder.path())
            .args(extra);
        if let (Some(identity), Some(port)) = (identity, tls_port) {
            launch = launch
                .args(["--tls-port", &port.to_string()])
                .args(["--tls-auth-clients", "no", "--tls-cert-file"])
                .arg(identity.certificate())
                .arg("--tls-key-file")
                .arg(identity.key())
                .arg("--tls-ca-cert-file")
                .arg(identity.certificate());
        }
        let process = launch.start();
        process.wait_for_line(SOON, |line| {
            line.text.contains("Ready to accept connections")
        });
        Self {
            port,
            tls_port,
            _process: process,
            _folder: folder,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        let port = self.tls_port.expect("it listens with TLS");
        format!("rediss://localhost:{port}")
    }

    pub fn set(&self, key: impl Display) {
        let () = self.connection().set(key.to_string(), "value").unwrap();
    }

    /// The keys that there are.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.connection().keys("*").unwrap();
        keys.sort();
        keys
    }

    pub fn wait_for_keys(&self, expected: &[&str]) {
        eventually(SOON, &format!("the keys {expected:?}"), || {
            (self.keys() == expected).then_some(())
        });
    }

    /// Makes it a replica, as a failover does, of a server that does not exist.
    pub fn demote(&self) {
        self.replicate("127.0.0.1", "1");
    }

    pub fn promote(&self) {
        self.replicate("NO", "ONE");
    }

    fn replicate(&self, host: &str, port: &str) {
        redis::cmd("REPLICAOF")
            .arg(&[host, port])
            .exec(&mut self.connection())
            .unwrap();
    }

    /// Makes it a cluster of its own.
    pub fn make_cluster(&self) {
        let mut connection = self.connection();
        redis::cmd("CLUSTER")
            .arg(&["ADDSLOTSRANGE", "0", "16383"])
            .exec(&mut connection)
            .unwrap();
        eventually(SOON, "a cluster that works", || {
            let info: String = redis::cmd("CLUSTER")
                .arg("INFO")
                .query(&mut connection)
                .unwrap();
            info.contains("cluster_state:ok").then_some(())
        });
    }

    fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }
}

/// If another process takes it before it is used, the test fails.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Redis keeps a port 10,000 above for its cluster.
    let port = listener.local_addr().unwrap().port();
    if port > 55_000 { free_port() } else { port }
}
