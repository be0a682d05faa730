//! Helpers shared by the integration tests, the chaos test and the benchmarks.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wait`] | waiting for a condition, with a time limit |
//! | [`process`] | running programs: output, signals, exit status |
//! | [`kafka`], [`topic`], [`writer`], [`group`] | brokers, topics, records, consumer groups |
//! | [`network`], [`peers`] | faulty connections to brokers, and between them |
//! | [`role`] | a running role: its log, its admin port |
//! | [`installation`] | topics under a prefix, and processes that use them |
//! | [`model`], [`population`] | the reference model of terminal events; active users |
//! | [`faketime`] | processes with wrong clocks |
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(
    unreachable_pub,
    reason = "support modules are written like library modules"
)]

pub mod faketime;
pub mod group;
pub mod installation;
pub mod kafka;
pub mod model;
pub mod network;
pub mod peers;
pub mod population;
pub mod process;
pub mod role;
pub mod topic;
pub mod wait;
pub mod writer;
