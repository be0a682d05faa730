//! The pages in a real browser: nothing is refused by their own policy, nothing fails.

use std::process::Command;

use tempfile::TempDir;

use super::{Console, HOSTILE, activity};
use crate::kafka::Kafka;
use crate::pipeline::installation::{Installation, SHORT};

/// Set, it makes a missing browser a failure.
const REQUIRED: &str = "SUNDOWN_TEST_REQUIRE_BROWSER";

/// Chromium, under whatever name.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// The page once it is loaded, and what the browser's console says about it.
fn load(browser: &str, url: &str) -> (String, Vec<String>) {
    let profile = TempDir::new().expect("a folder");
    let output = Command::new("timeout")
        .args([
            "60",
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .expect("the browser starts");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = log.lines().filter(|line| line.contains("CONSOLE"));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    (page, told.map(str::to_owned).collect())
}

#[test]
fn a_browser_has_nothing_to_complain_of() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os(REQUIRED).is_none(), "there is no Chromium");
        eprintln!("SKIPPED: there is no Chromium; install it, or the pages go untested in one");
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let console = Console::start(&installation, &[]);
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, [activity(HOSTILE, HOSTILE)]);
    console.await_ending(HOSTILE);
    for path in [
        "/dashboard",
        "/consumers",
        "/health",
        "/endings",
        "/topics",
        "/sessions",
    ] {
        let (page, told) = load(browser, &console.client.url(path));
        assert!(page.contains("<h1>"), "{path}: {page}");
        assert_eq!(told, Vec::<String>::new(), "{path}");
    }
}
