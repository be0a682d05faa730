//! How the process is asked to stop: the first signal drains, the second aborts.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal cut short, as a shell would
/// report SIGTERM.
const ABORTED: i32 = 143;

/// A token that the first SIGTERM or SIGINT cancels. The second signal ends the
/// process on the spot; whatever was not committed will be done again.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
        let name = next().await;
        tracing::info!(signal = name, "stopping; a second signal aborts");
        stop.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "aborting");
        std::process::exit(ABORTED);
    });
    Ok(token)
}
