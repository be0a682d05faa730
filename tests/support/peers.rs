//! The network between the brokers of a cluster, whose controllers are part of them.

use std::path::Path;

use super::network::{Clients, LinkState, Network};

/// Proxies between brokers. Clients still reach a broker that is cut off from the others.
pub struct Peers {
    network: Network,
    brokers: u8,
}

impl Peers {
    /// Starts the proxies of the cluster in this folder.
    pub fn new(dir: &Path, brokers: u8) -> Self {
        let clients = Clients {
            count: brokers.into(),
            number: broker,
        };
        let network = Network::new(clients, brokers, 2, &dir.join("peers"));
        Self { network, brokers }
    }

    /// Options of `tests/kafka/kafka` that have the brokers use the proxies.
    pub fn options(&self) -> [String; 2] {
        ["--peers".to_owned(), self.network.ports()]
    }

    /// Sets the state of the links between a broker, counted from 1, and the others.
    pub fn set(&self, broker: u8, state: LinkState) {
        for other in (1..=self.brokers).filter(|other| *other != broker) {
            self.network.set(index(broker), Some(other), state);
            self.network.set(index(other), Some(broker), state);
        }
    }
}

fn index(broker: u8) -> usize {
    usize::from(broker) - 1
}

/// Returns the number of the broker, counted from 0, that has this client id: the first number in it, for
/// example in `broker-2-fetcher-0`, `raft-client-2` and `2`.
fn broker(client_id: &str) -> Option<usize> {
    let mut words = client_id.split(|letter: char| !letter.is_ascii_digit());
    let number: usize = words.find(|word| !word.is_empty())?.parse().ok()?;
    number.checked_sub(1)
}
