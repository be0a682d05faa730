//! The network between trackers and brokers: a proxy in front of each broker's second listener.
//!
//! The client id in the first request of a connection identifies the tracker.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{self, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::schedule::{LinkState, MEMBERS};
use crate::support::kafka::OwnKafka;

/// Upper bound of the request header up to the client id.
const MAX_FIRST_REQUEST_BYTES: usize = 64;
/// Bytes forwarded at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Connections between trackers and brokers.
pub struct Network {
    ports: Vec<u16>,
    /// Addresses of the brokers, once they run.
    brokers: Arc<OnceLock<Vec<SocketAddr>>>,
    /// State of each link, by tracker and broker.
    links: Arc<Vec<Vec<watch::Sender<LinkState>>>>,
    /// Serializes the faults of one tracker's links.
    locks: Vec<Mutex<()>>,
    _runtime: Runtime,
}

impl Network {
    /// Starts a proxy for each broker.
    pub fn new(brokers: u8) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        let mut network = Self {
            ports: Vec::new(),
            brokers: Arc::default(),
            links: Arc::new(
                (0..MEMBERS)
                    .map(|_| (0..brokers).map(|_| watch::Sender::default()).collect())
                    .collect(),
            ),
            locks: (0..MEMBERS).map(|_| Mutex::default()).collect(),
            _runtime: runtime.expect("a runtime"),
        };
        for broker in 0..brokers.into() {
            network.listen(broker);
        }
        network
    }

    /// Ports of the proxies, comma-separated.
    pub fn ports(&self) -> String {
        let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        ports.join(",")
    }

    /// Bootstrap servers of the trackers.
    pub fn bootstrap(&self) -> String {
        let brokers = self.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        brokers.collect::<Vec<_>>().join(",")
    }

    /// Connects the proxies to the brokers.
    pub fn connect_to(&self, kafka: &OwnKafka) {
        let detours = std::fs::read_to_string(kafka.dir().join("detours")).expect("detours");
        let detours = detours.trim().split(',');
        let brokers = detours.map(|detour| detour.parse().expect("an address"));
        self.brokers.set(brokers.collect()).expect("once");
    }

    /// Locks the links of a tracker.
    pub fn lock(&self, tracker: usize) -> MutexGuard<'_, ()> {
        let lock = self.locks[tracker].lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the state of the links between a tracker and one broker, counted from 1, or all.
    pub fn set(&self, tracker: usize, broker: Option<u8>, state: LinkState) {
        for (number, link) in (1..).zip(&self.links[tracker]) {
            if broker.is_none_or(|broker| broker == number) {
                link.send_replace(state);
            }
        }
    }

    fn listen(&mut self, broker: usize) {
        let _context = self._runtime.enter();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        self.ports
            .push(listener.local_addr().expect("a port").port());
        listener.set_nonblocking(true).expect("not blocking");
        let listener = net::TcpListener::from_std(listener).expect("a listener");
        let (brokers, links) = (Arc::clone(&self.brokers), Arc::clone(&self.links));
        self._runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let (brokers, links) = (Arc::clone(&brokers), Arc::clone(&links));
                tokio::spawn(async move {
                    let brokers = brokers.get().expect("the brokers are running");
                    // Either end may close at any moment.
                    let _ = connect(client, brokers[broker], broker, &links).await;
                });
            }
        });
    }
}

/// Forwards one connection until either end closes it or it is cut.
async fn connect(
    mut client: TcpStream,
    address: SocketAddr,
    broker: usize,
    links: &[Vec<watch::Sender<LinkState>>],
) -> Result<(), Error> {
    let mut first_request = vec![0; MAX_FIRST_REQUEST_BYTES];
    let tracker = read_client_id(&mut client, &mut first_request).await?;
    let mut cut = links[tracker][broker].subscribe();
    if *cut.borrow() == LinkState::Cut {
        return Ok(());
    }
    let (mut requests, mut answers) = (cut.clone(), cut.clone());
    let mut server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    requests
        .wait_for(|state| !state.holds_requests())
        .await
        .ok();
    server.write_all(&first_request).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        forwarded = forward(from_client, to_server, &mut requests, LinkState::holds_requests) => forwarded,
        forwarded = forward(from_server, to_client, &mut answers, LinkState::holds_answers) => forwarded,
        _ = cut.wait_for(|state| *state == LinkState::Cut) => Ok(()),
    }
}

/// Reads the client id from the first request.
async fn read_client_id(
    client: &mut TcpStream,
    first_request: &mut Vec<u8>,
) -> Result<usize, Error> {
    /// Length, API key, API version and correlation id, length of the client id.
    const HEADER: usize = 4 + 2 + 2 + 4 + 2;
    first_request.truncate(HEADER);
    client.read_exact(first_request).await?;
    let length = usize::from(u16::from_be_bytes([
        first_request[HEADER - 2],
        first_request[HEADER - 1],
    ]));
    if length > MAX_FIRST_REQUEST_BYTES - HEADER {
        return Err(ErrorKind::InvalidData.into());
    }
    first_request.resize(HEADER + length, 0);
    client.read_exact(&mut first_request[HEADER..]).await?;
    let name = str::from_utf8(&first_request[HEADER..]).ok();
    let number = name.and_then(|name| name.strip_prefix("tracker-")?.parse().ok());
    let tracker = number.filter(|tracker| *tracker < MEMBERS);
    tracker.ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Forwards one direction as the state of the link allows.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    link: &mut watch::Receiver<LinkState>,
    holds: fn(&LinkState) -> bool,
) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        // The sender lives as long as the network.
        let state = link.wait_for(|state| !holds(state)).await;
        let delay = match state.map(|state| *state) {
            Ok(LinkState::Slow(delay)) => delay,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(delay).await;
        to.write_all(&buffer[..length]).await?;
    }
}

impl LinkState {
    fn holds_requests(&self) -> bool {
        *self == Self::Silent
    }

    fn holds_answers(&self) -> bool {
        matches!(self, Self::Silent | Self::Unanswered)
    }
}
