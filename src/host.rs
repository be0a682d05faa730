//! The host name.

/// Returns the name of the machine or pod, or `unknown`.
#[must_use]
pub fn host() -> String {
    let name = hostname::get().unwrap_or_default();
    let name = name.to_string_lossy();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.into_owned()
    }
}
