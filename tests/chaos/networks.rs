//! The networks of the brokers: to the trackers, and to each other.

use std::path::Path;

use crate::BROKERS;
use crate::schedule::MEMBERS;
use crate::support::network::{Clients, Network};
use crate::support::peers::Peers;

/// All connections that faults concern.
pub struct Networks {
    pub trackers: Network,
    pub peers: Peers,
}

impl Networks {
    /// Starts the proxies of the cluster in this folder.
    pub fn new(dir: &Path) -> Self {
        let trackers = Clients {
            count: MEMBERS,
            number: |client_id| client_id.strip_prefix("tracker-")?.parse().ok(),
        };
        Self {
            trackers: Network::new(trackers, BROKERS, 1, &dir.join("detours")),
            peers: Peers::new(dir, BROKERS),
        }
    }

    /// Options of `tests/kafka/kafka` that have brokers and trackers use the proxies.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec!["--detour".to_owned(), self.trackers.ports()];
        options.extend(self.peers.options());
        options
    }
}
