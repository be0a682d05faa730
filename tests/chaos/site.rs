//! Where it all takes place.

use std::thread;

use crate::installation::Installation;
use crate::journal::Journal;
use crate::kafka::OwnKafka;
use crate::network::Network;
use crate::settings::Settings;

/// Where it all takes place.
pub struct Site<'a> {
    pub kafka: &'a OwnKafka,
    pub network: &'a Network,
    pub installation: Installation<'a>,
    pub settings: &'a Settings,
    /// Of the trackers' group.
    pub protocol: &'static str,
    pub journal: Journal,
}

impl Site<'_> {
    /// Does something that ends by itself, or else ends everything: lanes do not go on without
    /// each other.
    pub fn together<T>(&self, lane: impl FnOnce() -> T) -> T {
        struct EndOfAll<'a>(&'a Journal);
        impl Drop for EndOfAll<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.end();
                }
            }
        }
        let _guard = EndOfAll(&self.journal);
        lane()
    }
}
