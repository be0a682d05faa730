//! The tracker's promises, on a real Kafka: no active user is logged out, every session that should
//! end does, and each ends exactly once.
//!
//! The population writes the activity of users; the reference model computes the terminal events
//! that must follow from it (`tests/support`).

pub mod clocks;
pub mod policies;

mod arrival_order;
mod bad_input;
mod check;
mod crashes;
mod displaced;
mod field_inputs;
mod identity;
mod layouts;
mod ledger;
pub mod limits;
mod many_sessions;
mod pauses;
mod python_producers;
mod restarts;
mod retention;
mod routing;
mod startup;
mod steady;
mod upgrade;
mod upstream;
mod variants;
