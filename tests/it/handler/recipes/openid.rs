//! An OpenID provider (oidc-provider), and applications that log in there.

use std::ffi::OsStr;
use std::path::PathBuf;

use josekit::jwk::KeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::Value;
use tempfile::TempDir;

use super::super::{Ending, Installation, stop};
use crate::console::browser::chromium::Chromium;
use crate::console::client::Client;
use crate::redis::free_port;
use crate::third_party::{self, Server};

const KEY_ID: &str = "key-of-the-provider";

/// A provider with the key that the handler signs with.
struct Provider {
    server: Server,
    key: PathBuf,
    _folder: TempDir,
}

impl Provider {
    /// One for an application at this port. `None` without npm.
    fn start(application: u16, redirect_path: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("key.pem");
        let pair = RsaKeyPair::generate(2048).unwrap();
        std::fs::write(&key, pair.to_pem_private_key()).unwrap();
        let application = format!("http://localhost:{application}");
        let variables: [(&str, &OsStr); 4] = [
            ("KEY", key.as_os_str()),
            ("KEY_ID", KEY_ID.as_ref()),
            ("APPLICATION", application.as_ref()),
            ("REDIRECT_PATH", redirect_path.as_ref()),
        ];
        Some(Self {
            server: third_party::node("provider.js", &variables)?,
            key,
            _folder: folder,
        })
    }

    fn url(&self) -> &str {
        &self.server.url
    }

    fn client(&self) -> Client {
        let port = self.url().rsplit(':').next().unwrap();
        Client::new(port.parse().unwrap())
    }

    /// Issues an access token: to a client (`tokens/CLIENT`), or for an application to keep
    /// (`handles/SESSION`).
    fn issue(&self, path: &str) -> String {
        let path = format!("/test/{path}");
        let response = self.client().send("POST", &path, &[], "");
        assert_eq!(response.status, 200, "{}", response.body);
        let mut lines = response.body.lines();
        // The second one if the body is chunked.
        lines.nth(1).unwrap_or(&response.body).to_owned()
    }

    fn has(&self, token: &str) -> bool {
        self.client().get(&format!("/test/tokens/{token}")).status == 200
    }

    /// Its key, as `signingKeys`.
    fn signing_keys(&self) -> String {
        format!(
            "signingKeys: [{{algorithm: RS256, kid: {KEY_ID}, key: {{valueFrom: {{file: '{}'}}}}}}]",
            self.key.display()
        )
    }
}

/// Ends a session with an `oauth-revocation` action that has these fields. Returns the errors of
/// dead letters.
fn revoke(provider: &Provider, ending: Ending, fields: &str) -> Vec<String> {
    let installation = Installation::new(1);
    installation.write(&[ending]);
    let action = format!(
        "  - {{name: revoke, type: oauth-revocation, insecure: true, \
         url: '{}/token/revocation', {fields}}}\n",
        provider.url()
    );
    let launch = installation.launch(&action, "");
    let handler = launch.env("CLIENT_SECRET", "secret of the service").start();
    installation.wait_until_drained();
    stop(handler);
    let letters = installation.dead_letters();
    let errors = letters
        .iter()
        .filter_map(|letter| letter.header("sundown-dlq-error"));
    errors.map(str::to_owned).collect()
}

#[test]
fn oidc_provider_revokes_tokens_for_their_own_clients() {
    let Some(provider) = Provider::start(1, "/callback") else {
        return;
    };
    let own = "client: {id: service, method: client_secret_basic, secret: \
               {valueFrom: {env: CLIENT_SECRET}}}";
    let with_key = format!(
        "client: {{id: service-with-key, method: private_key_jwt, issuer: '{}', {}}}",
        provider.url(),
        provider.signing_keys()
    );
    for (client, config) in [("service", own), ("service-with-key", &with_key)] {
        let path = format!("tokens/{client}");
        let [revoked, other] = [(); 2].map(|()| provider.issue(&path));
        let ending = Ending::with("a", &format!(r#"{{"token":"{revoked}"}}"#));
        let fields = format!("token: '{{{{ attributes.token }}}}', {config}");
        assert!(revoke(&provider, ending, &fields).is_empty());
        assert!(!provider.has(&revoked), "{client}");
        assert!(provider.has(&other), "{client}");
    }
    let token = provider.issue("tokens/service-with-key");
    let ending = Ending::with("a", &format!(r#"{{"token":"{token}"}}"#));
    let fields = format!("token: '{{{{ attributes.token }}}}', {own}");
    let errors = revoke(&provider, ending, &fields);
    assert!(
        errors.len() == 1 && errors[0].contains("not authorized"),
        "{errors:?}"
    );
    assert!(provider.has(&token), "another client's");

    // The event has the session id alone.
    let token = provider.issue("handles/7");
    let fields = format!(
        "tokenFrom: {{url: '{}/test/handles/{{{{ session_id }}}}', pointer: /access_token}}, {own}",
        provider.url()
    );
    let ending = Ending::of("a").of_session("7");
    assert!(revoke(&provider, ending, &fields).is_empty());
    assert!(!provider.has(&token));
}

/// A browser with a login of the user jane at an application. `None` without a browser.
fn log_in(application: &str) -> Option<(Chromium, String)> {
    let mut browser = Chromium::launch()?;
    browser.open(application);
    browser.type_into("input[name=login]", "jane");
    browser.type_into("input[name=password]", "any");
    browser.follow("button[type=submit]");
    let claims = json(&mut browser);
    assert_eq!(claims["sub"], "jane", "{claims}");
    let sid = claims["sid"].as_str().unwrap().to_owned();
    Some((browser, sid))
}

/// The page, which is JSON.
pub(super) fn json(browser: &mut Chromium) -> Value {
    let text = browser.eval("document.body.innerText");
    let text = text.as_str().unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(super) fn is_logged_in(browser: &mut Chromium, application: &str) -> bool {
    browser.open(&format!("{application}/status"));
    json(browser)["loggedIn"] == true
}

/// Ends one of two sessions of a user at an application.
fn end_one_of_two_sessions(provider: &Provider, application: &str, logout_path: &str) {
    let Some((mut ended, sid)) = log_in(application) else {
        return;
    };
    let (mut other, other_sid) = log_in(application).unwrap();
    assert_ne!(sid, other_sid);
    assert!(is_logged_in(&mut ended, application) && is_logged_in(&mut other, application));
    let installation = Installation::new(1);
    installation.write(&[Ending::with("jane", &format!(r#"{{"sid":"{sid}"}}"#))]);
    let action = format!(
        "  - {{name: logout, type: oidc-backchannel-logout, url: '{application}{logout_path}', \
         issuer: '{}', audience: shop, sid: '{{{{ attributes.sid }}}}', {}}}\n",
        provider.url(),
        provider.signing_keys()
    );
    let handler = installation.start(&action, "");
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    assert!(!is_logged_in(&mut ended, application));
    assert!(is_logged_in(&mut other, application), "another session");
    stop(handler);
}

#[test]
#[ignore = "needs npm and a browser: .ci/run third-party"]
fn express_openid_connect_ends_the_session_of_a_logout_token() {
    let port = free_port();
    let provider = Provider::start(port, "/callback").expect("npm");
    let port = port.to_string();
    let variables: [(&str, &OsStr); 3] = [
        ("ISSUER", provider.url().as_ref()),
        ("PORT", port.as_ref()),
        ("ALGORITHM", "RS256".as_ref()),
    ];
    let application = third_party::node("relying-party.js", &variables).expect("npm");
    end_one_of_two_sessions(&provider, &application.url, "/backchannel-logout");
}

#[test]
#[ignore = "needs npm, Maven and a browser: .ci/run third-party"]
fn spring_security_ends_the_session_of_a_logout_token() {
    let port = free_port();
    let provider = Provider::start(port, "/login/oauth2/code/shop").expect("npm");
    let properties = spring_login("shop", "secret of the shop", provider.url());
    let properties = properties
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let application = third_party::spring("login", port, &properties);
    end_one_of_two_sessions(
        &provider,
        &application.url,
        "/logout/connect/back-channel/shop",
    );
}

/// The properties with which Spring Security logs in as a client of a provider.
pub(super) fn spring_login(
    client: &str,
    secret: &str,
    issuer: &str,
) -> [(&'static str, String); 4] {
    [
        (
            "spring.security.oauth2.client.registration.shop.client-id",
            client.to_owned(),
        ),
        (
            "spring.security.oauth2.client.registration.shop.client-secret",
            secret.to_owned(),
        ),
        (
            "spring.security.oauth2.client.registration.shop.scope",
            "openid".to_owned(),
        ),
        (
            "spring.security.oauth2.client.provider.shop.issuer-uri",
            issuer.to_owned(),
        ),
    ]
}
