//! SASL OAUTHBEARER: clients authenticate with tokens of a real OpenID provider, whose keys the
//! broker verifies them with.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::console::client::Client;
use crate::redis::free_port;
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::{Kafka, OwnKafka};
use crate::support::process::{Launch, Stream};
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;
use crate::third_party::{self, Server};
use crate::tls::Identity;

/// Of the client `kafka` at the provider.
const SECRET: &str = "secret of kafka";
/// So short that they are renewed within a test.
const TOKEN_SECONDS: &str = "15";

/// A provider, and a broker with a listener for its tokens.
struct Tokens {
    kafka: OwnKafka,
    provider: Server,
    tls_port: u16,
    identity: Identity,
    files: TempDir,
}

impl Tokens {
    /// `None` without npm.
    fn start() -> Option<Self> {
        let (identity, tls_port) = (Identity::new(), free_port());
        let (certificate, key) = (identity.certificate(), identity.key());
        let port = tls_port.to_string();
        let variables: [(&str, &OsStr); 6] = [
            ("KEY", key.as_os_str()),
            ("KEY_ID", "key-of-the-provider".as_ref()),
            ("TOKEN_SECONDS", TOKEN_SECONDS.as_ref()),
            ("TLS_PORT", port.as_ref()),
            ("TLS_CERTIFICATE", certificate.as_os_str()),
            ("TLS_KEY", key.as_os_str()),
        ];
        let provider = third_party::node("provider.js", &variables)?;
        let settings = [
            ("expected.audience", "kafka".to_owned()),
            ("expected.issuer", provider.url.clone()),
        ];
        let kafka = broker(&format!("{}/jwks", provider.url), &settings);
        let files = TempDir::new().unwrap();
        fs::write(files.path().join("secret"), SECRET).unwrap();
        Some(Self {
            kafka,
            provider,
            tls_port,
            identity,
            files,
        })
    }

    fn token_url(&self) -> String {
        format!("{}/token", self.provider.url)
    }

    fn secret(&self) -> PathBuf {
        self.files.path().join("secret")
    }

    /// A command of the client `kafka`.
    fn command(&self, args: &[&str]) -> Launch {
        let client = ("kafka", &*self.secret());
        connect(&self.kafka, args, &self.token_url(), client).args(["--oauth-scope", "kafka"])
    }

    /// How many tokens clients have requested.
    fn issued(&self) -> usize {
        let port = self.provider.url.rsplit(':').next().unwrap();
        let client = Client::new(port.parse().unwrap());
        let response = client.get("/test/issued/kafka");
        // The second line if the body is chunked.
        let number = response.body.lines().nth(1).unwrap_or(&response.body);
        number.parse().unwrap()
    }
}

fn broker(keys: &str, settings: &[(&str, String)]) -> OwnKafka {
    let settings = settings.iter().flat_map(|(name, value)| {
        [
            "--set".to_owned(),
            format!("sasl.oauthbearer.{name}={value}"),
        ]
    });
    let oauth = ["--oauth".to_owned(), keys.to_owned()];
    Kafka::own_with(
        1,
        std::process::id(),
        &oauth.into_iter().chain(settings).collect::<Vec<_>>(),
    )
}

/// A command with a client id and the file of its secret.
fn connect(kafka: &OwnKafka, args: &[&str], token_url: &str, client: (&str, &Path)) -> Launch {
    Launch::sundown()
        .args(args)
        .args(["-b", &kafka.address("oauth")])
        .args([
            "--sasl-mechanism",
            "OAUTHBEARER",
            "--oauth-token-url",
            token_url,
        ])
        .args(["--oauth-client-id", client.0, "--oauth-client-secret-file"])
        .arg(client.1)
}

fn tracker(prefix: &str) -> Vec<&str> {
    let flags =
        "--idle-timeout 3s --allowed-lateness 1s --commit-interval 100ms --session-timeout 6s";
    let role = ["tracker", "--log-format", "json", "--topic-prefix", prefix];
    role.into_iter().chain(flags.split(' ')).collect()
}

fn succeeds(launch: Launch) -> String {
    let mut process = launch.start();
    let status = process.wait(SOON);
    let output = process.text(Stream::Stderr) + &process.text(Stream::Stdout);
    assert!(status.success(), "{output}");
    output
}

/// What processes show of themselves to others on their machine.
fn shown_by(process: &RoleProcess) -> String {
    let folder = format!("/proc/{}", process.process.id());
    let read = |name: &str| fs::read(format!("{folder}/{name}")).unwrap();
    String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
}

#[test]
fn every_client_gets_in_with_tokens_and_renews_them() {
    let Some(tokens) = Tokens::start() else {
        return;
    };
    let installation = Installation::without_topics(&tokens.kafka, "tokens", 3);
    let prefix = installation.topic("");
    let run = |args: &[&str]| {
        succeeds(tokens.command(&[args, &["--topic-prefix", &prefix]].concat()));
    };
    // Of admin clients, producers and consumers.
    run(&["topics", "create", "--partitions", "3"]);
    let running = RoleProcess::start(tokens.command(&tracker(&prefix)));
    running.await_ready();
    run(&["check"]);

    // Each client has one token; this many, and every one is a renewal of the second kind.
    let first = tokens.issued();
    assert!(first > 1, "{first}");
    eventually(SOON, "renewed tokens", || {
        (tokens.issued() >= 3 * first).then_some(())
    });
    run(&["check"]);
    running.await_ready();

    let log = running.log();
    assert!(!log.contains("SASL authentication error"), "{log}");
    for text in [log, shown_by(&running)] {
        assert!(!text.contains(SECRET), "{text}");
    }
    running.stop();
}

#[test]
fn a_wrong_secret_and_then_the_right_one() {
    let Some(tokens) = Tokens::start() else {
        return;
    };
    fs::write(tokens.secret(), "wrong").unwrap();
    let running = RoleProcess::start(tokens.command(&tracker("wrong.")));
    running.await_unready("kafka", "invalid_client");
    running.await_unready("kafka", "--oauth-client-secret-file");
    fs::write(tokens.secret(), SECRET).unwrap();
    eventually(SOON, "another error than the secret", || {
        running.log().contains("missing topics").then_some(())
    });
    running.stop();

    // The broker refuses tokens of another audience, librdkafka those that are no JWTs.
    let secret = tokens.files.path().join("other");
    fs::write(&secret, "secret of the service").unwrap();
    let other = connect(
        &tokens.kafka,
        &tracker("wrong."),
        &tokens.token_url(),
        ("service", &secret),
    );
    let running = RoleProcess::start(other);
    running.await_unready("kafka", "JWT");
    running.stop();
}

#[test]
fn a_token_endpoint_is_trusted_as_brokers_are() {
    let Some(tokens) = Tokens::start() else {
        return;
    };
    let url = format!("https://localhost:{}/token", tokens.tls_port);
    let secret = tokens.secret();
    let launch = || connect(&tokens.kafka, &tracker("tls."), &url, ("kafka", &secret));
    let running = RoleProcess::start(launch());
    running.await_unready("kafka", "--oauth-ca-file");
    running.stop();

    let certificate = tokens.identity.certificate();
    let folder = TempDir::new().unwrap();
    fs::copy(&certificate, folder.path().join("ca.crt")).unwrap();
    for trusting in [
        launch().arg("--oauth-ca-file").arg(&certificate),
        launch().arg("--oauth-ca-file").arg(folder.path()),
        launch().env("SSL_CERT_FILE", &certificate),
    ] {
        let running = RoleProcess::start(trusting);
        eventually(SOON, "a broker that lets this client in", || {
            running.log().contains("missing topics").then_some(())
        });
        running.stop();
    }
}

/// Run by `tests/third-party/keycloak`.
#[test]
#[ignore = "needs a Keycloak"]
fn tokens_of_keycloak() {
    let keycloak = std::env::var("SUNDOWN_TEST_KEYCLOAK").unwrap();
    let endpoint = |name: &str| format!("{keycloak}/realms/shop/protocol/openid-connect/{name}");
    let settings = [
        ("expected.issuer", format!("{keycloak}/realms/shop")),
        // Of a client that may manage users; without the setting, Kafka refuses tokens with an audience.
        ("expected.audience", "realm-management".to_owned()),
    ];
    let kafka = broker(&endpoint("certs"), &settings);
    let installation = Installation::without_topics(&kafka, "keycloak", 3);
    let prefix = installation.topic("");
    let files = TempDir::new().unwrap();
    let secret = files.path().join("secret");
    fs::write(&secret, "secret of the handler").unwrap();
    let (url, client) = (endpoint("token"), ("sundown", &*secret));
    let create = [
        "topics",
        "create",
        "--partitions",
        "3",
        "--topic-prefix",
        &prefix,
    ];
    succeeds(connect(&kafka, &create, &url, client));
    let running = RoleProcess::start(connect(&kafka, &tracker(&prefix), &url, client));
    running.await_ready();
    let check = ["check", "--topic-prefix", &prefix];
    succeeds(connect(&kafka, &check, &url, client));
    running.stop();
}
