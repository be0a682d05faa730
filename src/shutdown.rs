//! Signal handling: the first signal stops the process gracefully, the second aborts it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, the one that shells report for SIGTERM.
const ABORTED: i32 = 143;

/// Returns a token that the first SIGTERM or SIGINT cancels. The second signal ends the process
/// immediately; uncommitted work is redone later.
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
