//! How long a tracker takes to answer `/livez`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::{Process, Stream};

/// It is asked so often.
const EVERY: Duration = Duration::from_millis(50);

/// Asks until it is stopped.
pub struct Livez {
    stop: Arc<AtomicBool>,
    asker: JoinHandle<Duration>,
}

impl Livez {
    pub fn start(tracker: &Process) -> Self {
        let address = admin(tracker);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asker = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                ask(&address);
                longest = longest.max(begun.elapsed());
                std::thread::sleep(EVERY);
            }
            longest
        });
        Self { stop, asker }
    }

    /// Stops asking; the longest time until an answer.
    pub fn finish(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.asker.join().unwrap()
    }
}

fn ask(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /livez HTTP/1.1\r\nhost: admin\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Where the admin port is, on this machine.
fn admin(tracker: &Process) -> String {
    let log = tracker.text(Stream::Stderr) + &tracker.text(Stream::Stdout);
    let entries = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut addresses =
        entries.filter_map(|entry: Value| entry["admin"].as_str().map(str::to_owned));
    let address = addresses.next().expect("the log names the admin port");
    address.replace("0.0.0.0", "127.0.0.1")
}
