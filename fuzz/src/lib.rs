//! What the fuzz targets check: each reader of bytes that others write, on arbitrary bytes.
//!
//! A check panics if a reader does, or if what it has read contradicts what is known of the format.
//! `docs/explanation/testing.md` shows how to run the targets; `tests/fuzz_seeds.rs` runs every check on its
//! seeds.

mod documents;
mod http;
mod records;
mod schemas;
mod sources;

/// Checks a reader on some bytes.
pub type Check = fn(&[u8]);

/// Every target by its name, which is that of its file in `fuzz_targets/` and of its folder in `seeds/`.
pub const TARGETS: [(&str, Check); 17] = [
    ("actions_file", documents::actions_file),
    ("checkpoint_record", records::checkpoint_record),
    ("dead_letter", records::dead_letter),
    ("expression", sources::expression),
    ("forwarded_key", records::forwarded_key),
    ("http_body", http::http_body),
    ("offset_metadata", records::offset_metadata),
    ("policy_file", documents::policy_file),
    ("policy_record", documents::policy_record),
    ("process_report", records::process_report),
    ("registry_schema", schemas::registry_schema),
    ("session_event", records::session_event),
    ("source_file", documents::source_file),
    ("source_record", sources::source_record),
    ("ssf_token", http::ssf_token),
    ("terminal_event", records::terminal_event),
    ("watermarks", records::watermarks),
];

/// Runs the check of a target.
///
/// # Panics
/// If there is no target of this name, or the check fails.
pub fn run(target: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, check) = target.expect("a target of this name");
    check(data);
}

/// The first line of an input, and the rest.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n');
    end.map_or((data, &[]), |end| (&data[..end], &data[end + 1..]))
}
