//! The installation under test and its environment.

use std::thread;

use crate::journal::Journal;
use crate::networks::Networks;
use crate::schedule::INGESTS;
use crate::settings::Settings;
use crate::support::installation::Installation;
use crate::support::kafka::OwnKafka;
use crate::website::Website;

/// The brokers, networks and installation of one run.
pub struct Deployment<'a> {
    pub kafka: &'a OwnKafka,
    pub networks: &'a Networks,
    pub installation: Installation<'a>,
    /// In long runs alone.
    pub website: Option<Website>,
    pub settings: &'a Settings,
    /// Group protocol of all members.
    pub protocol: &'static str,
    pub journal: Journal,
}

impl Deployment<'_> {
    /// How many ingest processes there are.
    pub fn ingests(&self) -> usize {
        self.website.as_ref().map_or(0, |_| INGESTS)
    }

    /// Runs a lane; if it panics, all lanes end.
    pub fn guarded<T>(&self, lane: impl FnOnce() -> T) -> T {
        struct EndOnPanic<'a>(&'a Journal);
        impl Drop for EndOnPanic<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.end();
                }
            }
        }
        let _guard = EndOnPanic(&self.journal);
        lane()
    }
}
