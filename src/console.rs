//! `sundown console`: the web console and its JSON API.
//!
//! | part | file |
//! |---|---|
//! | routes | `routes.rs` |
//! | the live state, read from topics | `live.rs` |
//! | pages as HTML and JSON | `pages/` |
//! | excerpts of the installation's topics | `explorer.rs` |
//! | authentication and authorization | `security.rs` |
//! | revocation of sessions | `revocation.rs` |
//! | redrives and discards of dead letters | `dead_letters.rs` |
//! | audit records | `audit.rs` |
//! | audit records of looks at personal data | `looks.rs` |
//!
//! Templates are checked at compile time. Open pages receive updates as server-sent events.

pub mod args;
pub mod assets;
pub mod audit;
pub mod chart;
pub mod dead_letters;
pub mod explorer;
pub mod format;
pub mod live;
pub mod looks;
pub mod pages;
pub mod problem;
pub mod proxy;
pub mod redact;
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
use crate::session::Span;
use crate::session_lookup::search::Searcher;
use args::ConsoleArgs;
use audit::AuditLog;
use dead_letters::DeadLetterProcessor;
use explorer::Explorer;
use live::tail::TailStart;
use live::{Live, MAX_DEAD_LETTERS, connection, lag, tail};
use pages::logout;
use proxy::Proxies;
use redact::Redactor;
use revocation::Revoker;
use security::Security;
use security::logins::{LOGIN_LIFETIME, Logins};
use state::AppState;

/// Limit on pages with live updates; further ones do not update.
const MAX_STREAMS: usize = 100;
/// Limit on concurrent session lookups; further ones are refused.
const MAX_LOOKUPS: usize = 8;

/// A console that is bound to its address and not serving yet.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    security: Security,
}

/// Runs `sundown console` until `stop`.
///
/// # Errors
/// If the console cannot start.
pub async fn run(
    global: &GlobalArgs,
    args: &ConsoleArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let console = Console::bind(args).await?;
    tracing::info!(url = console.url(), "serving the console");
    console.serve(global, args, stop).await
}

impl Console {
    /// Binds the listen address.
    ///
    /// # Errors
    /// [`ListenError`], or [`security::SecurityError`] for an insecure configuration.
    pub async fn bind(args: &ConsoleArgs) -> anyhow::Result<Self> {
        let (listener, address) = bind(&args.listen, "--listen").await?;
        Ok(Self {
            security: Security::new(args, address)?,
            listener,
            address,
        })
    }

    /// Binds the listen address, or any free port on loopback if it is in use.
    ///
    /// # Errors
    /// As [`Console::bind`].
    pub async fn bind_or_any_port(args: &ConsoleArgs) -> anyhow::Result<Self> {
        let error = match Self::bind(args).await {
            Err(error) => error,
            bound => return bound,
        };
        let listen_error = error.downcast_ref::<ListenError>();
        if listen_error.is_some_and(ListenError::is_in_use) {
            tracing::warn!(
                listen = args.listen,
                "address in use; listening on a free port"
            );
            let any_port = ConsoleArgs {
                listen: "127.0.0.1:0".to_owned(),
                ..args.clone()
            };
            return Self::bind(&any_port).await;
        }
        Err(error)
    }

    /// Allows changes with `token`; a login ends after `idle_timeout` without requests.
    #[must_use]
    pub fn with_token(mut self, token: Token, idle_timeout: Span) -> Self {
        self.security.logins = Some(Logins::new(token, idle_timeout));
        self
    }

    /// URL of the dashboard.
    #[must_use]
    pub fn url(&self) -> String {
        let port = self.address.port();
        if self.address.ip().is_loopback() || self.address.ip().is_unspecified() {
            format!("http://localhost:{port}/dashboard")
        } else {
            format!("http://{}/dashboard", self.address)
        }
    }

    /// Serves the console until `stop`.
    ///
    /// # Errors
    /// If the console cannot start.
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
        let config = global.connection.client_config()?;
        connection::start(&config, &topics.policies, clock, &health, stop.clone())?;
        spawn_readers(&live, global, args, (&health, &topics), &stop)?;
        let admin_address = args.admin.advertised(admin.address());
        let identity = Identity::new("console", admin_address, clock.wall());
        let producer = global.connection.producer_config()?;
        let reports = Reports::new(identity, health.clone(), producer, &topics.processes, clock)?;
        let report_task = tokio::spawn(reports.run(stop.clone()));
        let app = Arc::new(AppState {
            live,
            security: self.security,
            audit: Arc::new(AuditLog::new(
                global.connection.producer_config()?,
                topics.audit.clone(),
                clock,
            )?),
            redactor: Redactor::new(args.redact),
            explorer: Explorer::new(&global.connection.client_config()?)?,
            revoker: Revoker::new(
                global.connection.producer_config()?,
                topics.session_logs.clone(),
            )?,
            dead_letters: DeadLetterProcessor::new(global.clone()),
            pauses: PauseWriter::new(global.connection.producer_config()?, topics.clone())?,
            searcher: Searcher::new(args.admin_token.read()?)?,
            lookups: Semaphore::new(MAX_LOOKUPS),
            topics,
            base_path: args.base_path.clone(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        });
        if app.security.logins.is_some() {
            tokio::spawn(connect_revoker(Arc::clone(&app)));
            // Logouts that other consoles received, or this one before it was started again.
            let logouts = (TailStart::Since(LOGIN_LIFETIME), clock);
            let audit = vec![app.topics.audit.clone()];
            let records = tail::start(&config, audit, logouts, &health, stop.clone())?;
            tokio::spawn(logout::apply(Arc::clone(&app), records));
        }
        let limits = ConnectionLimits::LONG_LIVED;
        let proxies = Proxies {
            base_path: args.base_path.clone(),
            trusted: args.trusted_proxy.clone(),
        };
        let router = proxy::behind(proxies, routes::router(app));
        serve(self.listener, router, limits, stop).await;
        Ok(report_task.await?)
    }
}

/// Connects the revoker in advance, so that the first revocation is fast.
async fn connect_revoker(app: Arc<AppState>) {
    if let Err(problem) = app.revoker.connect().await {
        tracing::debug!(%problem, "cannot connect to write revocations");
    }
}

/// Starts the readers that update `live`.
fn spawn_readers(
    live: &Live,
    global: &GlobalArgs,
    args: &ConsoleArgs,
    (health, topics): (&Health, &Topics),
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let config = global.connection.client_config()?;
    let tracker_group = global.topics.prefixed(&args.trackers.tracker_group);
    let handler_group = global.topics.prefixed(&args.handler_group);
    let reader_config = with_group_id(&config, &tracker_group);
    let reports = TopicFeed::start(&reader_config, &topics.processes, health, stop.clone())?;
    let policies = TopicFeed::start(&reader_config, &topics.policies, health, stop.clone())?;
    let tail_topics = vec![
        topics.expired_sessions.clone(),
        topics.session_logs_dlq.clone(),
        topics.expired_sessions_dlq.clone(),
    ];
    let records = {
        let newest = (TailStart::Last(MAX_DEAD_LETTERS), Clock::default());
        tail::start(&reader_config, tail_topics, newest, health, stop.clone())?
    };
    let groups = vec![
        (tracker_group, topics.session_logs.clone()),
        (handler_group, topics.expired_sessions.clone()),
    ];
    lag::start(
        &config,
        groups,
        live.clone(),
        Clock::default(),
        health,
        stop.clone(),
    )?;
    tokio::spawn(live.clone().apply_reports(reports));
    tokio::spawn(live.clone().apply_policies(policies));
    tokio::spawn(live.clone().apply_tail(records, topics.clone()));
    Ok(())
}
