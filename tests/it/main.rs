//! Integration tests: the real binary against a real Apache Kafka (`tests/kafka/README.md`).
//!
//! One binary, so that all of its tests share one broker. The support comes first: [`kafka`] brings
//! up brokers, [`writer`], [`topic`] and [`group`] write and read what is in them, [`process`] runs programs,
//! [`eventually`] awaits what nothing announces.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it saw"
)]
#![allow(unreachable_pub, reason = "support modules read like a library's")]

mod eventually;
mod group;
mod kafka;
mod mail;
mod process;
mod receiver;
mod redis;
mod tls;
mod topic;
mod topic_feed;
mod writer;

mod console;
mod controller;
mod demo;
mod handler;
mod harness;
mod monitoring;
mod pipeline;
mod policies;
mod produce;
mod security;
mod sessions;
mod stall;
mod topics;
