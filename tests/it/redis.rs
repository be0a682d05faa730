//! The Redis of the system, one server per test.

use std::fmt::{Display, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
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
            for (name, value) in tls_settings(port, identity) {
                launch = launch.arg(format!("--{name}")).arg(value);
            }
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
        self.wait_until_cluster_works();
    }

    /// Makes it a node, without slots, of another one's cluster.
    pub fn join_cluster(&self, other: &Self) {
        let port = other.port.to_string();
        let () = self.query(&[b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes()]);
        self.wait_until_cluster_works();
    }

    fn wait_until_cluster_works(&self) {
        eventually(SOON, "a cluster that works", || {
            let info: String = self.query(&[b"CLUSTER", b"INFO"]);
            info.contains("cluster_state:ok").then_some(())
        });
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command.
    pub fn query<T: redis::FromRedisValue>(&self, command: &[&[u8]]) -> T {
        let mut sent = redis::Cmd::new();
        sent.arg(command);
        sent.query(&mut self.connection()).unwrap()
    }

    /// Makes it a replica of another server.
    pub fn follow(&self, master: &Self) {
        let port = master.port.to_string();
        let () = self.query(&[b"REPLICAOF", b"127.0.0.1", port.as_bytes()]);
        eventually(SOON, "a replica in step", || {
            let info: String = self.query(&[b"INFO", b"replication"]);
            info.contains("master_link_status:up").then_some(())
        });
    }

    pub fn wait_until_replica(&self) {
        eventually(SOON, "a replica", || {
            let mut command = redis::cmd("INFO");
            // A server whose role changes closes its connections.
            let client = redis::Client::open(self.url()).unwrap();
            let mut connection = client.get_connection().ok()?;
            let info: String = command.arg("replication").query(&mut connection).ok()?;
            info.contains("role:slave").then_some(())
        });
    }

    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }
}

/// A sentinel that watches a master under the name `sessions`, alone.
pub struct Sentinel {
    pub port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Sentinel {
    pub fn start(master: &RedisServer) -> Self {
        let port = free_port();
        Self::launch(port, master.port, &format!("port {port}\n"))
    }

    /// One that uses TLS alone, towards its clients and the master.
    pub fn start_with(master: &RedisServer, identity: &Identity) -> Self {
        let port = free_port();
        let mut listen = "port 0\ntls-replication yes\n".to_owned();
        for (name, value) in tls_settings(port, identity) {
            writeln!(listen, "{name} {value}").unwrap();
        }
        let watched = master.tls_port.expect("it listens with TLS");
        Self::launch(port, watched, &listen)
    }

    fn launch(port: u16, watched: u16, listen: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "{listen}bind 127.0.0.1\ndir {}\n\
             sentinel monitor sessions 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds sessions 1000\n\
             sentinel failover-timeout sessions 5000\n",
            folder.path().display()
        );
        std::fs::write(&file, text).unwrap();
        let process = Launch::program("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .start();
        process.wait_for_line(SOON, |line| line.text.contains("+monitor master"));
        Self {
            port,
            _process: process,
            _folder: folder,
        }
    }

    /// Makes another server the master, and waits until it is.
    pub fn fail_over(&self, to: &RedisServer) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        eventually(SOON, "another master", || {
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg("sessions");
            let (_, port): (String, u16) = command.query(&mut connection).ok()?;
            if port == to.port {
                return Some(());
            }
            // It does not know the replica yet, or has given up because the machine was busy; while it
            // is at it, this is refused.
            let mut command = redis::cmd("SENTINEL");
            let _refused = command
                .arg("FAILOVER")
                .arg("sessions")
                .exec(&mut connection);
            None
        });
    }
}

/// Settings of a server that takes TLS from clients without certificates.
fn tls_settings(port: u16, identity: &Identity) -> [(&'static str, String); 5] {
    let path = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    [
        ("tls-port", port.to_string()),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-cert-file", path(identity.certificate())),
        ("tls-key-file", path(identity.key())),
        ("tls-ca-cert-file", path(identity.certificate())),
    ]
}

/// If another process takes it before it is used, the test fails.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Redis keeps a port 10,000 above for its cluster.
    let port = listener.local_addr().unwrap().port();
    if port > 55_000 { free_port() } else { port }
}
