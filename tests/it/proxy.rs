//! A proxy in front of a broker.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::kafka::{Kafka, OwnKafka};

/// A proxy in front of a broker that can stop forwarding on all connections that it has.
pub struct Proxy {
    listener: TcpListener,
    /// Counts the times; connections of earlier ones are silent.
    era: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy that listens on a loopback address.
    pub fn new(address: impl Into<IpAddr>) -> Self {
        Self {
            listener: TcpListener::bind((address.into(), 0)).expect("a port"),
            era: Arc::default(),
        }
    }

    /// Starts a broker of the test's own, which clients reach through the proxy alone.
    pub fn broker(&self) -> (OwnKafka, Kafka) {
        let detour = ["--detour".to_owned(), self.address().to_string()];
        let kafka = Kafka::own_with(1, std::process::id(), &detour);
        let broker = std::fs::read_to_string(kafka.dir().join("detours")).expect("an address");
        self.forward_to(broker.trim().parse().expect("an address"));
        (kafka, Kafka::at(self.address().to_string()))
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    fn forward_to(&self, broker: SocketAddr) {
        let listener = self.listener.try_clone().expect("a listener");
        let era = Arc::clone(&self.era);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                // The broker ends before the proxy.
                let Ok(server) = TcpStream::connect(broker) else {
                    return;
                };
                let own = era.load(Ordering::SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let era = Arc::clone(&era);
                    thread::spawn(move || forward(from, to, &|| era.load(Ordering::SeqCst) == own));
                }
            }
        });
    }

    /// From now on, nothing passes on the present connections, which stay open.
    pub fn silence(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
    }
}

/// Forwards until either end closes; drops what arrives while not `open`.
fn forward(mut from: TcpStream, mut to: TcpStream, open: &dyn Fn() -> bool) {
    let mut buffer = [0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if open() && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _either_may_be_closed = to.shutdown(Shutdown::Both);
}
