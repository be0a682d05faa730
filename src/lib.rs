//! Sundown ends user sessions on time.
//!
//! The modules build on each other in this order: a module imports only from modules above it, and
//! `tests/architecture.rs` checks that.
//!
//! | floor | module | what it holds |
//! |---|---|---|
//! | core | [`session`] | the pure core: sessions, policies, timers, checkpoints |
//! | base | [`clock`], [`host`], [`memory`], [`panics`], [`bounded`], [`shutdown`], [`health`] | time, host name, memory, panics, bounded reads, signals, readiness and liveness |
//! | formats | [`wire`] | session events, terminal events, dead letters, times, durations |
//! | showing | [`output`], [`telemetry`] | tables, progress bars and errors; logs |
//! | Kafka | [`kafka`] | clients, groups, topics, readers and writers |
//! | serving | [`metrics`], [`http`], [`admin`] | registries, HTTP clients and servers, probes |
//! | shared | [`policy`], [`processes`], [`dead_letters`], [`session_lookup`], [`source`] | what several roles read or write |
//! | roles | [`tracker`], [`handler`], [`ingest`], [`controller`], [`console`], [`demo`] | the long-running processes |
//! | commands | [`commands`], [`cli`] | the command line |

pub use sundown_session as session;

pub mod bounded;
pub mod clock;
pub mod health;
pub mod host;
pub mod memory;
pub mod panics;
pub mod shutdown;

pub mod wire;

pub mod output;
pub mod telemetry;

pub mod kafka;

pub mod admin;
pub mod http;
pub mod metrics;

pub mod dead_letters;
pub mod policy;
pub mod processes;
pub mod session_lookup;
pub mod source;

pub mod console;
pub mod controller;
pub mod demo;
pub mod handler;
pub mod ingest;
pub mod tracker;

pub mod cli;
pub mod commands;
