//! Progress bars. They show themselves on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);

/// A bar for events, of which there are `total`, if that is known.
#[must_use]
pub fn of_events(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {human_pos}/{human_len} events  {per_sec}  {eta} left",
        None => "{spinner} {human_pos} events  {per_sec}  {elapsed}",
    };
    bar(total, template)
}

/// A bar with a template of its own (see indicatif); a spinner without a `total`.
#[must_use]
pub fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
