//! A network to brokers: proxies in front of some of their listeners.
//!
//! The client id in the first request of a connection identifies the client.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{self, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Upper bound of the request header up to the client id.
const MAX_FIRST_REQUEST_BYTES: usize = 64;
/// Bytes forwarded at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    #[default]
    Clear,
    /// Each buffer is delayed.
    Slow(Duration),
    /// Nothing passes until the fault ends.
    Silent,
    /// Requests pass; responses are held until the fault ends.
    Unanswered,
    /// Connections are closed and refused.
    Cut,
}

/// Who connects to the brokers through a network.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// Upper bound of their number.
    pub count: usize,
    /// Returns the number of the client that has this client id.
    pub number: fn(&str) -> Option<usize>,
}

/// Connections between clients and brokers.
pub struct Network {
    ports: Vec<u16>,
    links: Arc<Links>,
    /// Serializes the faults of one client's links.
    locks: Vec<Mutex<()>>,
    _runtime: Runtime,
}

struct Links {
    clients: Clients,
    /// State of each link, by client and broker.
    states: Vec<Vec<watch::Sender<LinkState>>>,
    /// The file with the addresses of the listeners, which exists before the brokers start.
    file: PathBuf,
    addresses: OnceLock<Vec<SocketAddr>>,
}

impl Network {
    /// Starts a proxy for each of the brokers' listeners, whose addresses will be in `file`, broker by
    /// broker.
    pub fn new(clients: Clients, brokers: u8, listeners_per_broker: usize, file: &Path) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        let states = (0..clients.count).map(|_| (0..brokers).map(|_| watch::Sender::default()));
        let mut network = Self {
            ports: Vec::new(),
            links: Arc::new(Links {
                clients,
                states: states.map(Iterator::collect).collect(),
                file: file.to_owned(),
                addresses: OnceLock::new(),
            }),
            locks: (0..clients.count).map(|_| Mutex::default()).collect(),
            _runtime: runtime.expect("a runtime"),
        };
        for broker in 0..brokers.into() {
            for _ in 0..listeners_per_broker {
                network.listen(broker);
            }
        }
        network
    }

    /// Ports of the proxies, comma-separated.
    pub fn ports(&self) -> String {
        let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        ports.join(",")
    }

    /// Bootstrap servers of the clients.
    pub fn bootstrap(&self) -> String {
        let brokers = self.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        brokers.collect::<Vec<_>>().join(",")
    }

    /// Locks the links of a client.
    pub fn lock(&self, client: usize) -> MutexGuard<'_, ()> {
        let lock = self.locks[client].lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the state of the links between a client and one broker, counted from 1, or all.
    pub fn set(&self, client: usize, broker: Option<u8>, state: LinkState) {
        for (number, link) in (1..).zip(&self.links.states[client]) {
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
        let (number, links) = (self.ports.len() - 1, Arc::clone(&self.links));
        self._runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let links = Arc::clone(&links);
                tokio::spawn(async move {
                    // Either end may close at any moment.
                    let _ = links.connect(client, links.address(number), broker).await;
                });
            }
        });
    }
}

impl Links {
    /// The address of the listener behind a proxy.
    fn address(&self, proxy: usize) -> SocketAddr {
        let addresses = self.addresses.get_or_init(|| {
            let addresses = std::fs::read_to_string(&self.file).expect("addresses");
            let addresses = addresses.trim().split(',');
            addresses
                .map(|address| address.parse().expect("an address"))
                .collect()
        });
        addresses[proxy]
    }

    /// Forwards one connection until either end closes it or it is cut.
    async fn connect(
        &self,
        mut client: TcpStream,
        address: SocketAddr,
        broker: usize,
    ) -> Result<(), Error> {
        let mut first_request = vec![0; MAX_FIRST_REQUEST_BYTES];
        let client_id = read_client_id(&mut client, &mut first_request).await?;
        let number = (self.clients.number)(&client_id).filter(|one| *one < self.clients.count);
        let number = number.ok_or(ErrorKind::InvalidData)?;
        let mut cut = self.states[number][broker].subscribe();
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
}

/// Reads the client id from the first request.
async fn read_client_id(
    client: &mut TcpStream,
    first_request: &mut Vec<u8>,
) -> Result<String, Error> {
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
    let name = str::from_utf8(&first_request[HEADER..]);
    Ok(name.map_err(Error::other)?.to_owned())
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
    /// The label under which it is counted.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Clear => "networks left alone",
            Self::Slow(_) => "networks slow",
            Self::Silent => "networks silent",
            Self::Unanswered => "networks silent one way",
            Self::Cut => "networks cut",
        }
    }

    fn holds_requests(&self) -> bool {
        *self == Self::Silent
    }

    fn holds_answers(&self) -> bool {
        matches!(self, Self::Silent | Self::Unanswered)
    }
}
