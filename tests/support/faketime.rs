//! Processes with a wrong wall clock, by libfaketime.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::Launch;

/// Prepares a launch for a wall clock other than the machine's, set by `FAKETIME` or
/// `FAKETIME_TIMESTAMP_FILE`; no other of its clocks is touched. Preloads what the command
/// `faketime` would: that is a process of its own, which keeps signals to itself.
pub fn preload(launch: Launch) -> Launch {
    let faketime = Command::new("faketime").arg("--version").output();
    faketime.expect("faketime is installed; on Debian: apt-get install faketime");
    let preload = format!("{}:/usr/$LIB/faketime/libfaketime.so.1", shim().display());
    launch
        .env("LD_PRELOAD", preload)
        .env("DONT_FAKE_MONOTONIC", "1")
}

/// libfaketime knows POSIX threads only; `c11_threads.c` has the C11 threads that librdkafka uses
/// wait as those do. Otherwise they would wait until the real time has come up with the false one.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/c11_threads.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libc11_threads.so");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", source, "-o"])
            .arg(&library)
            .output()
            .expect("a C compiler, as the build needs one");
        assert!(output.status.success(), "{output:?}");
        library
    })
}
