//! What `policy delete` and `source delete` have in common.

use anyhow::bail;

use crate::output;

/// Returns the names that exist, each once.
///
/// # Errors
/// If one does not exist, unless `ignore_not_found`.
pub(super) fn existing<'a>(
    kind: &str,
    names: impl IntoIterator<Item = &'a String>,
    exists: impl Fn(&str) -> bool,
    ignore_not_found: bool,
) -> anyhow::Result<Vec<&'a str>> {
    let mut names: Vec<_> = names.into_iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let (known, unknown): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| exists(name));
    if !ignore_not_found && !unknown.is_empty() {
        bail!(
            "there is no {kind} '{}': list them with sundown {kind} get, or pass --ignore-not-found; nothing has been deleted",
            unknown.join("', nor '")
        );
    }
    Ok(known)
}

/// Prints that a resource has been deleted, and who may write it again.
pub(super) fn print(kind: &str, resource: &str, name: &str) {
    if name.contains('/') {
        output::note(format_args!(
            "{kind} '{name}' belongs to the Kubernetes controller, which writes it again while it runs"
        ));
    }
    output::line(format_args!("{resource}/{name} deleted"));
}
