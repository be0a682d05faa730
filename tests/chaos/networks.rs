//! The networks of the brokers: to the members of groups, and to each other.

use std::path::Path;

use crate::BROKERS;
use crate::schedule::{INGESTS, Role, TRACKERS};
use crate::support::network::{Clients, Network};
use crate::support::peers::Peers;

/// All connections that faults concern.
pub struct Networks {
    pub members: Network,
    pub peers: Peers,
}

impl Networks {
    /// Starts the proxies of the cluster in this folder.
    pub fn new(dir: &Path) -> Self {
        let members = Clients {
            count: TRACKERS + INGESTS,
            number: number_of,
        };
        Self {
            members: Network::new(members, BROKERS, 1, &dir.join("detours")),
            peers: Peers::new(dir, BROKERS),
        }
    }

    /// Options of `tests/kafka/kafka` that have brokers and members use the proxies.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec!["--detour".to_owned(), self.members.ports()];
        options.extend(self.peers.options());
        options
    }
}

/// The number of a member's links.
pub fn link_number(role: Role, number: usize) -> usize {
    match role {
        Role::Tracker => number,
        Role::Ingest => TRACKERS + number,
    }
}

fn number_of(client_id: &str) -> Option<usize> {
    let (role, number) = match client_id.split_once('-')? {
        ("tracker", number) => (Role::Tracker, number),
        ("ingest", number) => (Role::Ingest, number),
        _ => return None,
    };
    Some(link_number(role, number.parse().ok()?))
}
