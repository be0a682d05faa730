//! The tracker's promises, on a real Kafka: nobody active is logged out, every session that should
//! end does, and each ends exactly once.
//!
//! [`population`] writes what users do, [`model`] reads what that has to come to,
//! [`installation`] and [`tracker`] run what is to be tested, and compare.

pub mod clocks;
pub mod faketime;
pub mod installation;
pub mod model;
pub mod policies;
mod population;
pub mod tracker;

mod bad_input;
mod check;
mod crashes;
mod ledger;
mod pauses;
mod restarts;
mod retention;
mod startup;
mod steady;
mod upstream;
mod variants;
