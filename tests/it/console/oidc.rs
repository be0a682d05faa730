//! Logins at a real OpenID provider, in a real browser.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::Path;

use josekit::jwk::KeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::browser::chromium::{Chromium, REQUIRED};
use super::{Console, SOON};
use crate::redis::free_port;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::process::{Launch, Process};
use crate::support::topic::Record;
use crate::support::wait::eventually;
use crate::third_party::{self, Server};

const SECRET: &str = "secret of the console";
const GROUPS: &str = r#"{"ann":["security"],"bob":["staff"],"eve":["other"]}"#;
/// Where Debian's package puts it, which may not be on the path of a user.
const NGINX: &str = "/usr/sbin/nginx";
const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// A provider, and the port at which browsers reach a console that it knows.
struct Provider {
    server: Server,
    port: u16,
    secret: NamedTempFile,
    _key: TempDir,
}

impl Provider {
    /// One for a console below a path; `None` without npm.
    fn start(path: &str) -> Option<Self> {
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let key = folder.path().join("key.pem");
        let pair = RsaKeyPair::generate(2048).unwrap();
        std::fs::write(&key, pair.to_pem_private_key()).unwrap();
        let console = format!("http://localhost:{port}{path}");
        let variables: [(&str, &OsStr); 4] = [
            ("KEY", key.as_os_str()),
            ("KEY_ID", "key-of-the-provider".as_ref()),
            ("CONSOLE", console.as_ref()),
            ("GROUPS", GROUPS.as_ref()),
        ];
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), SECRET).unwrap();
        Some(Self {
            server: third_party::node("provider.js", &variables)?,
            port,
            secret,
            _key: folder,
        })
    }

    /// Starts the console, which requires a login to read.
    fn console(&self, installation: &Installation<'_>) -> Console {
        let listen = format!("127.0.0.1:{}", self.port);
        self.console_behind(installation, &listen, "", &[])
    }

    /// One that browsers reach by another address, and below a path.
    fn console_behind(
        &self,
        installation: &Installation<'_>,
        listen: &str,
        path: &str,
        more: &[&str],
    ) -> Console {
        let public = format!("http://localhost:{}{path}", self.port);
        let secret = self.secret.path().to_str().unwrap();
        let flags = [
            ["--listen", listen],
            ["--oidc-issuer", &self.server.url],
            ["--oidc-client-id", "console"],
            ["--oidc-client-secret-file", secret],
            ["--oidc-public-url", &public],
            ["--oidc-scope", "groups"],
            ["--oidc-viewer", "staff"],
            ["--oidc-admin", "security"],
        ];
        Console::start_at(installation, &[flags.as_flattened(), more].concat())
    }
}

/// Logs a user in, from the page that they want to see on.
fn log_in(chromium: &mut Chromium, url: &str, user: &str) {
    chromium.open(&format!("{url}/dashboard"));
    chromium.follow("a[href$='/login/oidc']");
    chromium.type_into("input[name=login]", user);
    chromium.type_into("input[name=password]", "any");
    chromium.follow("button[type=submit]");
}

/// Ends a session by the API as the page does; returns the status.
fn end_session(chromium: &mut Chromium, path: &str) -> Value {
    let request = json!({"session_id": "s"}).to_string();
    chromium.eval(&format!(
        "fetch('{path}/api/v1/revocations', {{method: 'POST', body: '{request}', headers: {{'content-type': 'application/json', 'x-csrf-token': document.querySelector('input[name=csrf]').value}}}}).then(response => response.status)"
    ))
}

/// Waits until the audit topic has at least `count` revocations.
fn await_revocations(installation: &Installation<'_>, count: usize) -> Vec<Value> {
    eventually(SOON, "the audit records", || {
        let records = installation.read("sundown.audit");
        let records = records.iter().map(Record::json);
        let records: Vec<_> = records.filter(|one| one["action"] == "revoke").collect();
        (records.len() >= count).then_some(records)
    })
}

#[test]
fn users_of_an_openid_provider_may_do_what_their_groups_allow() {
    let Some(provider) = Provider::start("") else {
        return;
    };
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = provider.console(&installation);
    assert_eq!(console.client.get("/api/v1/dashboard").status, 401);
    let url = console.client.url("");

    log_in(&mut chromium, &url, "bob");
    chromium.open(&console.client.url("/sessions?session=s"));
    let page = chromium.html();
    assert!(page.contains("bob") && page.contains("Log out"), "{page}");
    assert!(
        !page.contains("/sessions/end"),
        "a viewer has no forms: {page}"
    );
    assert_eq!(end_session(&mut chromium, ""), 403);

    let mut chromium = Chromium::launch().unwrap();
    log_in(&mut chromium, &url, "ann");
    chromium.open(&console.client.url("/sessions?session=s"));
    assert!(chromium.html().contains("/sessions/end"));
    assert_eq!(end_session(&mut chromium, ""), 202);
    let revocations = await_revocations(&installation, 2);
    assert_eq!(revocations.len(), 2);
    let of = |record: &Value| (record["user"].clone(), record["outcome"].clone());
    assert_eq!(of(&revocations[0]), (json!("bob"), json!("refused")));
    assert_eq!(of(&revocations[1]), (json!("ann"), json!("done")));

    let mut chromium = Chromium::launch().unwrap();
    log_in(&mut chromium, &url, "eve");
    let page = chromium.html();
    assert!(page.contains("the user eve has no role here"), "{page}");
    chromium.open(&console.client.url("/sessions?session=s"));
    assert!(!chromium.html().contains("Log out"));
}

#[test]
fn a_login_that_this_browser_has_not_begun_is_refused() {
    let Some(provider) = Provider::start("") else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = provider.console(&installation);
    let forged = "/login/oidc/callback?state=a&code=b";
    assert_eq!(console.client.get(forged).status, 403);
    let begun = console.client.get("/login/oidc");
    assert_eq!(begun.status, 303, "{}", begun.body);
    let cookie = begun.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let answer = console
        .client
        .send("GET", forged, &[("cookie", cookie)], "");
    assert_eq!(answer.status, 403, "another state");
    assert!(answer.header("set-cookie").is_none());
}

/// A reverse proxy that takes turns between consoles below a path; `None` if nginx is not installed and not
/// required.
struct Nginx {
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    fn start(port: u16, path: &str, consoles: &[u16]) -> Option<Self> {
        if !Path::new(NGINX).exists() {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "nginx is not installed"
            );
            eprintln!("SKIPPED: nginx is not installed; the console is not tested behind it");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let servers = consoles
            .iter()
            .map(|port| format!("server 127.0.0.1:{port};"));
        let config = include_str!("nginx.conf")
            .replace("SERVERS", &servers.collect::<String>())
            .replace("PORT", &port.to_string())
            .replace("PATH", path);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let launch = Launch::program(NGINX).arg("-p").arg(folder.path());
        let process = launch.arg("-c").arg(&file).start();
        let address = ("127.0.0.1", port);
        eventually(SOON, "nginx", || TcpStream::connect(address).ok());
        Some(Self {
            _process: process,
            _folder: folder,
        })
    }
}

#[test]
fn behind_nginx_logins_and_logouts_hold_on_both_consoles() {
    const PATH: &str = "/sundown";
    let Some(provider) = Provider::start(PATH) else {
        return;
    };
    let ports = [free_port(), free_port()];
    let Some(_nginx) = Nginx::start(provider.port, PATH, &ports) else {
        return;
    };
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let flags = ["--base-path", PATH, "--trusted-proxy", "127.0.0.1"];
    let consoles = ports.map(|port| {
        let listen = format!("127.0.0.1:{port}");
        provider.console_behind(&installation, &listen, PATH, &flags)
    });
    let url = format!("http://localhost:{}{PATH}", provider.port);
    log_in(&mut chromium, &url, "ann");
    // The requests of one page go to both.
    for _ in 0..4 {
        chromium.open(&format!("{url}/sessions?session=s"));
        let page = chromium.html();
        assert!(
            page.contains("ann") && page.contains("/sessions/end"),
            "{page}"
        );
        for _ in &consoles {
            assert_eq!(end_session(&mut chromium, PATH), 202);
        }
    }
    let records = await_revocations(&installation, 4);
    let is_ann = |one: &Value| one["user"] == "ann" && one["from"] == "127.0.0.1";
    assert!(records.iter().all(is_ann), "{records:?}");
    for console in &consoles {
        assert!(console.audit().iter().any(|(action, _)| action == "revoke"));
    }

    // At the provider, which notifies one of the consoles.
    let statuses = |chromium: &mut Chromium| {
        // One after the other, so that both consoles have some.
        let fetch = format!("fetch('{PATH}/api/v1/health').then(answer => answer.status)");
        [(); 4].map(|()| chromium.eval(&fetch))
    };
    assert_eq!(statuses(&mut chromium), [(); 4].map(|()| json!(200)));
    chromium.open(&format!("{}/session/end", provider.server.url));
    chromium.follow("button[name=logout]");
    chromium.open(&format!("{url}/login"));
    eventually(SOON, "the end of the login on both", || {
        let ended = [(); 4].map(|()| json!(401));
        (statuses(&mut chromium) == ended).then_some(())
    });
}
