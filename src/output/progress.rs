//! Progress bars; shown on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Interval between redraws.
const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// Returns a progress bar that counts events; a spinner without a `total`.
#[must_use]
pub fn of_events(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {human_pos}/{human_len} events  {per_sec}  {eta} left",
        None => "{spinner} {human_pos} events  {per_sec}  {elapsed}",
    };
    bar(total, template)
}

/// Returns a progress bar with an indicatif template; a spinner without a `total`.
#[must_use]
pub fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK_INTERVAL);
    bar
}
