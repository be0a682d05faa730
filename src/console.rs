//! `sundown console`: what goes on, in a browser.
//!
//! | part | file |
//! |---|---|
//! | what is known, fed by topics | `live.rs` |
//! | a page, and the JSON of the same things | `pages/` |
//! | reading any record of the installation's topics | `explorer.rs` |
//! | who may see and change what | `security.rs` |
//! | ending sessions | `revocation.rs` |
//! | dealing with dead letters | `redrive.rs` |
//! | who changed what | `audit.rs` |
//!
//! Pages are rendered here, by templates that are checked when they are compiled. A page
//! that is open gets its parts again, over server-sent events, when they have changed.

pub mod args;
pub mod assets;
pub mod audit;
pub mod chart;
pub mod explorer;
pub mod format;
pub mod live;
pub mod pages;
pub mod problem;
pub mod redact;
pub mod redrive;
pub mod revocation;
pub mod routes;
pub mod security;
pub mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::health::Health;
use crate::http::server::{ConnectionLimits, ListenError, bind, serve};
use crate::http::token::Token;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_feed::TopicFeed;
use crate::metrics::certificates;
use crate::policy::pause_writer::PauseWriter;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use crate::session_lookup::search::Searcher;
use args::ConsoleArgs;
use explorer::Explorer;
use live::{Live, MAX_LETTERS, lag, tail};
use redact::Redactor;
use redrive::Redriver;
use revocation::Revoker;
use security::Security;
use security::logins::Logins;
use state::AppState;

/// Pages that update themselves at once; further ones stand still.
const MAX_STREAMS: usize = 100;
/// Questions to trackers at once; further ones are refused.
const MAX_LOOKUPS: usize = 8;

/// A console that listens and does not answer yet.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    security: Security,
}

/// `sundown console`: runs until `stop`.
///
/// # Errors
/// What keeps it from starting, with the remedy.
pub async fn run(
    global: &GlobalArgs,
    args: &ConsoleArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let console = Console::bind(args).await?;
    tracing::info!(url = console.url(), "the console is there");
    console.serve(global, args, stop).await
}

impl Console {
    /// Listens.
    ///
    /// # Errors
    /// [`ListenError`] if the address is taken; or [`security::SecurityError`] if it would
    /// be open to everyone.
    pub async fn bind(args: &ConsoleArgs) -> anyhow::Result<Self> {
        let (listener, address) = bind(&args.listen, "--listen").await?;
        Ok(Self {
            security: Security::new(args, address)?,
            listener,
            address,
        })
    }

    /// Listens, on any free port of this machine if the one asked for is taken.
    ///
    /// # Errors
    /// As [`Console::bind`].
    pub async fn bind_somewhere(args: &ConsoleArgs) -> anyhow::Result<Self> {
        let error = match Self::bind(args).await {
            Err(error) => error,
            bound => return bound,
        };
        let taken = error.downcast_ref::<ListenError>();
        if taken.is_some_and(ListenError::is_in_use) {
            tracing::warn!(
                listen = args.listen,
                "taken; the console takes any free port"
            );
            let anywhere = ConsoleArgs {
                listen: "127.0.0.1:0".to_owned(),
                ..args.clone()
            };
            return Self::bind(&anywhere).await;
        }
        Err(error)
    }

    /// The same, which this token lets change something.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.security.logins = Some(Logins::new(token));
        self
    }

    /// Where to look.
    #[must_use]
    pub fn url(&self) -> String {
        let port = self.address.port();
        if self.address.ip().is_loopback() || self.address.ip().is_unspecified() {
            format!("http://localhost:{port}/dashboard")
        } else {
            format!("http://{}/dashboard", self.address)
        }
    }

    /// Answers until `stop`.
    ///
    /// # Errors
    /// What keeps it from starting, with the remedy.
    pub async fn serve(
        self,
        global: &GlobalArgs,
        args: &ConsoleArgs,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let clock = Clock::default();
        let health = Health::default();
        let registry = crate::metrics::registry("console", &health)?;
        certificates::register(&registry, &global.connection)?;
        let admin = admin::start(&args.admin, health.clone(), registry).await?;
        let topics = global.topics.topics();
        let live = Live::new(clock);
        feed(&live, global, args, &topics, &stop)?;
        let admin_address = args.admin.advertised(admin.address());
        let identity = Identity::new("console", admin_address, clock.wall());
        let producer = global.connection.producer_config()?;
        let reports = Reports::new(identity, health, producer, &topics.processes, clock)?;
        let reporting = tokio::spawn(reports.run(stop.clone()));
        let app = Arc::new(AppState {
            live,
            security: self.security,
            redactor: Redactor::new(args.redact),
            explorer: Explorer::new(&global.connection.client_config()?)?,
            revoker: Revoker::new(
                global.connection.producer_config()?,
                topics.session_logs.clone(),
            )?,
            redriver: Redriver::new(global.clone()),
            pauses: PauseWriter::new(global.connection.producer_config()?, topics.clone())?,
            searcher: Searcher::new(args.admin_token.read()?)?,
            lookups: Semaphore::new(MAX_LOOKUPS),
            topics,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        });
        if app.security.logins.is_some() {
            tokio::spawn(connect(Arc::clone(&app)));
        }
        let limits = ConnectionLimits::LONG_LIVED;
        serve(self.listener, routes::router(app), limits, stop).await;
        Ok(reporting.await?)
    }
}

/// Whoever ends the first session need not wait for connections.
async fn connect(app: Arc<AppState>) {
    if let Err(problem) = app.revoker.connect().await {
        tracing::debug!(%problem, "events cannot be written yet");
    }
}

/// Starts what keeps `live` up to date.
fn feed(
    live: &Live,
    global: &GlobalArgs,
    args: &ConsoleArgs,
    topics: &Topics,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let config = global.connection.client_config()?;
    let reading = with_group_id(&config, &global.topics.prefixed(&args.tracker_group));
    let reports = TopicFeed::start(&reading, &topics.processes, stop.clone())?;
    let policies = TopicFeed::start(&reading, &topics.policies, stop.clone())?;
    let newest = vec![
        topics.expired_sessions.clone(),
        topics.session_logs_dlq.clone(),
        topics.expired_sessions_dlq.clone(),
    ];
    let tails = tail::start(&reading, newest, MAX_LETTERS, stop.clone())?;
    let groups = vec![
        (
            global.topics.prefixed(&args.tracker_group),
            topics.session_logs.clone(),
        ),
        (
            global.topics.prefixed(&args.handler_group),
            topics.expired_sessions.clone(),
        ),
    ];
    lag::start(&config, groups, live.clone(), stop.clone())?;
    let (processes, book, newest, topics) =
        (live.clone(), live.clone(), live.clone(), topics.clone());
    tokio::spawn(async move { processes.follow_processes(reports).await });
    tokio::spawn(async move { book.follow_policies(policies).await });
    tokio::spawn(async move { newest.follow_tails(tails, topics).await });
    Ok(())
}
