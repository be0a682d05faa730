//! Confirmation on a terminal.

use std::fmt::Display;
use std::io::stdin;

use anyhow::{Context, bail};

/// Asks on stderr and reads the answer from stdin. The caller checks that stdin is a terminal.
///
/// # Errors
/// If the answer cannot be read or is not yes; `unchanged` completes "not confirmed; …".
pub fn confirm(question: impl Display, unchanged: &str) -> anyhow::Result<()> {
    super::note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    stdin()
        .read_line(&mut answer)
        .context("cannot read the answer; pass --yes instead")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("not confirmed; {unchanged}"),
    }
}
