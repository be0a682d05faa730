//! The Kafka that a benchmark runs against.

use std::process::{Command, Stdio};

/// Where it is: SUNDOWN_TEST_BOOTSTRAP, or a broker that ends with this process.
pub(crate) fn bootstrap() -> String {
    std::env::var("SUNDOWN_TEST_BOOTSTRAP").unwrap_or_else(|_| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka");
        let directory = std::env::temp_dir().join(format!("sundown-bench-{}", std::process::id()));
        let output = Command::new(script)
            // Kafka's own default, not the tests': a broker that is busy is not to be taken for dead.
            .args(["up", "--set", "broker.session.timeout.ms=9000"])
            .args(["--owner", &std::process::id().to_string(), "--dir"])
            .arg(directory)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "tests/kafka/kafka up");
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().last().unwrap().to_owned()
    })
}
