//! The network between trackers and brokers: a proxy in front of each broker's second listener.
//!
//! Which tracker a connection belongs to is in its first request: each has a client id of its own.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{self, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::kafka::OwnKafka;
use crate::schedule::{SEATS, Weather};

/// The largest client id of a tracker, and what is before it in a request.
const GREETING: usize = 64;
/// What a connection carries at once.
const PIECE: usize = 64 << 10;

/// Connections between trackers and brokers.
pub struct Network {
    ports: Vec<u16>,
    /// Where the brokers are, once they run.
    brokers: Arc<OnceLock<Vec<SocketAddr>>>,
    /// By tracker and broker.
    weather: Arc<Vec<Vec<watch::Sender<Weather>>>>,
    /// Held by whoever sees to a tracker's weather.
    turns: Vec<Mutex<()>>,
    _runtime: Runtime,
}

impl Network {
    /// Listens in front of so many brokers.
    pub fn new(brokers: u8) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        let mut network = Self {
            ports: Vec::new(),
            brokers: Arc::default(),
            weather: Arc::new(
                (0..SEATS)
                    .map(|_| (0..brokers).map(|_| watch::Sender::default()).collect())
                    .collect(),
            ),
            turns: (0..SEATS).map(|_| Mutex::default()).collect(),
            _runtime: runtime.expect("a runtime"),
        };
        for broker in 0..brokers.into() {
            network.listen(broker);
        }
        network
    }

    /// Of the proxies, with commas.
    pub fn ports(&self) -> String {
        let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        ports.join(",")
    }

    /// What trackers connect to.
    pub fn bootstrap(&self) -> String {
        let brokers = self.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        brokers.collect::<Vec<_>>().join(",")
    }

    /// Connects the proxies with the brokers behind them.
    pub fn lead_to(&self, kafka: &OwnKafka) {
        let detours = std::fs::read_to_string(kafka.dir().join("detours")).expect("detours");
        let detours = detours.trim().split(',');
        let brokers = detours.map(|detour| detour.parse().expect("an address"));
        self.brokers.set(brokers.collect()).expect("once");
    }

    /// Who sees to the weather of a tracker does so alone.
    pub fn turn(&self, tracker: usize) -> MutexGuard<'_, ()> {
        let turn = self.turns[tracker].lock();
        turn.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the weather between a tracker and one broker, counted from 1, or all of them.
    pub fn set(&self, tracker: usize, broker: Option<u8>, weather: Weather) {
        for (number, link) in (1..).zip(&self.weather[tracker]) {
            if broker.is_none_or(|broker| broker == number) {
                link.send_replace(weather);
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
        let (brokers, weather) = (Arc::clone(&self.brokers), Arc::clone(&self.weather));
        self._runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let (brokers, weather) = (Arc::clone(&brokers), Arc::clone(&weather));
                tokio::spawn(async move {
                    let brokers = brokers.get().expect("the brokers are running");
                    // Either end may go at any moment.
                    let _ = connect(client, brokers[broker], broker, &weather).await;
                });
            }
        });
    }
}

/// Carries one connection until either end closes it, or it is cut.
async fn connect(
    mut client: TcpStream,
    address: SocketAddr,
    broker: usize,
    weather: &[Vec<watch::Sender<Weather>>],
) -> Result<(), Error> {
    let mut greeting = vec![0; GREETING];
    let tracker = greet(&mut client, &mut greeting).await?;
    let mut cut = weather[tracker][broker].subscribe();
    if *cut.borrow() == Weather::Cut {
        return Ok(());
    }
    let (mut requests, mut answers) = (cut.clone(), cut.clone());
    let mut server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    requests
        .wait_for(|weather| !weather.holds_requests())
        .await
        .ok();
    server.write_all(&greeting).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        carried = carry(from_client, to_server, &mut requests, Weather::holds_requests) => carried,
        carried = carry(from_server, to_client, &mut answers, Weather::holds_answers) => carried,
        _ = cut.wait_for(|weather| *weather == Weather::Cut) => Ok(()),
    }
}

/// Reads the beginning of the first request, and from it which tracker it is.
async fn greet(client: &mut TcpStream, greeting: &mut Vec<u8>) -> Result<usize, Error> {
    /// Length, kind, version and number of the request, length of the client id.
    const HEADER: usize = 4 + 2 + 2 + 4 + 2;
    greeting.truncate(HEADER);
    client.read_exact(greeting).await?;
    let length = usize::from(u16::from_be_bytes([
        greeting[HEADER - 2],
        greeting[HEADER - 1],
    ]));
    if length > GREETING - HEADER {
        return Err(ErrorKind::InvalidData.into());
    }
    greeting.resize(HEADER + length, 0);
    client.read_exact(&mut greeting[HEADER..]).await?;
    let name = str::from_utf8(&greeting[HEADER..]).ok();
    let number = name.and_then(|name| name.strip_prefix("tracker-")?.parse().ok());
    let tracker = number.filter(|tracker| *tracker < SEATS);
    tracker.ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Carries one direction, as the weather allows.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: &mut watch::Receiver<Weather>,
    holds: fn(&Weather) -> bool,
) -> Result<(), Error> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        // The sender lives as long as the network.
        let weather = weather.wait_for(|weather| !holds(weather)).await;
        let delay = match weather.map(|weather| *weather) {
            Ok(Weather::Slow(delay)) => delay,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(delay).await;
        to.write_all(&piece[..length]).await?;
    }
}

impl Weather {
    fn holds_requests(&self) -> bool {
        *self == Self::Silent
    }

    fn holds_answers(&self) -> bool {
        matches!(self, Self::Silent | Self::Unanswered)
    }
}
