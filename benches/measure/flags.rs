//! Command-line flags of a benchmark.

/// The number after a flag.
pub fn flag(name: &str, default: u64) -> u64 {
    text_flag(name).map_or(default, |value| value.parse().expect("a number"))
}

/// The text after a flag.
pub fn text_flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// Whether a flag without a value is given.
pub fn has_flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}
