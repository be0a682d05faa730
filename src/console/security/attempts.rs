//! Wrong tokens, counted by the address that sends them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wrong tokens of an address within [`WINDOW`]; beyond them, its tokens are not looked at.
pub const MAX_WRONG_TOKENS: u32 = 20;
/// The time after the first wrong token until they are forgotten.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Limit on remembered addresses; beyond it, the one that would be forgotten next is.
const MAX_ADDRESSES: usize = 10_000;
/// The part of an IPv6 address that names a network; a client chooses the rest.
const NETWORK: u128 = !0 << 64;

/// The wrong tokens of each address.
#[derive(Debug, Default)]
pub struct WrongTokens(Mutex<HashMap<IpAddr, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    tokens: u32,
    /// The time of the first.
    since: Duration,
}

impl WrongTokens {
    /// Counts a wrong token from this address. `now` is the time since some fixed moment.
    pub fn add(&self, from: IpAddr, now: Duration) {
        let mut counts = self.counts();
        counts.retain(|_, count| !count.is_over(now));
        if counts.len() >= MAX_ADDRESSES {
            let next = counts.iter().min_by_key(|(_, count)| count.since);
            if let Some(address) = next.map(|(address, _)| *address) {
                counts.remove(&address);
            }
        }
        let first = Count {
            tokens: 0,
            since: now,
        };
        counts.entry(network(from)).or_insert(first).tokens += 1;
    }

    /// Whether this address has sent too many.
    #[must_use]
    pub fn has_too_many(&self, from: IpAddr, now: Duration) -> bool {
        let counts = self.counts();
        let count = counts.get(&network(from));
        count.is_some_and(|count| count.tokens >= MAX_WRONG_TOKENS && !count.is_over(now))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn is_over(self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= WINDOW
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_with_too_many_waits_for_the_end_of_the_window() {
        let wrong = WrongTokens::default();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 1..MAX_WRONG_TOKENS {
            wrong.add(one, NOW);
        }
        assert!(!wrong.has_too_many(one, NOW));
        wrong.add(one, NOW);
        assert!(wrong.has_too_many(one, NOW));
        assert!(!wrong.has_too_many(other, NOW));
        assert!(!wrong.has_too_many(one, NOW + WINDOW));
        wrong.add(one, NOW + WINDOW);
        assert!(!wrong.has_too_many(one, NOW + WINDOW), "counted from one");
    }

    #[test]
    fn addresses_of_a_network_count_together() {
        let wrong = WrongTokens::default();
        for number in 0..MAX_WRONG_TOKENS {
            wrong.add(address(&format!("2001:db8:0:1::{number:x}")), NOW);
        }
        assert!(wrong.has_too_many(address("2001:db8:0:1::ffff"), NOW));
        assert!(!wrong.has_too_many(address("2001:db8:0:2::1"), NOW));
        // The same IPv4 address, seen through a socket of both kinds.
        for _ in 0..MAX_WRONG_TOKENS {
            wrong.add(address("::ffff:192.0.2.1"), NOW);
        }
        assert!(wrong.has_too_many(address("192.0.2.1"), NOW));
    }

    #[test]
    fn memory_is_bounded() {
        let wrong = WrongTokens::default();
        let first = address("10.0.0.1");
        for _ in 0..MAX_WRONG_TOKENS {
            wrong.add(first, NOW);
        }
        let later = NOW + Duration::from_millis(1);
        let others = 0..u32::try_from(MAX_ADDRESSES).unwrap();
        let counts = others.map(|number| {
            let address = IpAddr::V4((0x0b00_0000 + number).into());
            let count = Count {
                tokens: 1,
                since: later,
            };
            (address, count)
        });
        wrong.counts().extend(counts.skip(1));
        assert_eq!(wrong.counts().len(), MAX_ADDRESSES);
        wrong.add(address("192.0.2.1"), later);
        assert_eq!(wrong.counts().len(), MAX_ADDRESSES);
        assert!(!wrong.has_too_many(first, later), "the oldest is forgotten");
    }
}
