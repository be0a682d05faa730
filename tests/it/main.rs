//! Integration tests: the real binary against a real Apache Kafka (`tests/kafka/README.md`).
//!
//! One binary, so that all of its tests share one broker. [`support`] holds the helpers that the
//! chaos test and the benchmarks also use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed test panics with what it observed"
)]
#![allow(
    unreachable_pub,
    reason = "support modules are written like library modules"
)]

#[path = "../support/mod.rs"]
mod support;

mod mail;
mod proxy;
mod raw_records;
mod receiver;
mod redis;
mod third_party;
mod tls;
mod topic_feed;

mod console;
mod controller;
mod demo;
mod end_offsets;
mod examples;
mod front_page;
mod handler;
mod hostile;
mod ingest;
mod ipv6;
mod liveness;
mod logs;
mod memory;
mod monitoring;
mod outages;
mod pipeline;
mod policies;
mod produce;
mod security;
mod self_test;
mod sessions;
mod silence;
mod stall;
mod state;
mod topics;
