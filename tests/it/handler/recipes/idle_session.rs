//! An idle session at an application behind Spring Security, which logs in at Keycloak.

use std::env;

use serde_json::json;
use sundown::clock::Clock;
use tempfile::TempDir;

use super::super::SOON;
use super::openid::{is_logged_in, json, spring_login};
use crate::console::browser::chromium::Chromium;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::topic::{Isolation, NewRecord};
use crate::support::wait::eventually;
use crate::third_party;

const LOGIN: &str = "#kc-login";
/// Whether the page asks for a password.
const ASKS_FOR_PASSWORD: &str = "!!document.querySelector('input[name=password]')";

/// Opens the application and logs in. Returns the session at Keycloak.
fn log_in(browser: &mut Chromium, application: &str) -> String {
    browser.open(application);
    browser.type_into("input[name=username]", "jane");
    browser.type_into("input[name=password]", "password");
    browser.follow(LOGIN);
    let claims = json(browser);
    claims["sid"].as_str().unwrap().to_owned()
}

fn action(keycloak: &str) -> String {
    format!(
        "actions:\n  - {{name: end-keycloak-session, type: webhook, method: DELETE, \
         insecure: true, \
         url: '{keycloak}/admin/realms/shop/sessions/{{{{ attributes.sid }}}}', \
         success: [2xx, 404], auth: {{oauth2ClientCredentials: {{\
         tokenUrl: '{keycloak}/realms/shop/protocol/openid-connect/token', \
         client: {{id: sundown, method: client_secret_basic, \
         secret: {{valueFrom: {{env: KEYCLOAK_SECRET}}}}}}}}}}}}\n"
    )
}

#[test]
#[ignore = "needs Keycloak, Maven and a browser: .ci/run third-party"]
fn keycloak_and_spring_security_ask_for_the_password_after_an_idle_session() {
    let variable = |name: &str| env::var(name).expect("run tests/third-party/keycloak");
    let keycloak = variable("SUNDOWN_TEST_KEYCLOAK");
    let port = variable("SUNDOWN_TEST_KEYCLOAK_APPLICATION");
    let issuer = format!("{keycloak}/realms/shop");
    let properties = spring_login("application", "secret of the application", &issuer);
    let properties = properties
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let application = third_party::spring("login", port.parse().unwrap(), &properties);
    let Some(mut browser) = Chromium::launch() else {
        return;
    };
    let sid = log_in(&mut browser, &application.url);
    assert!(is_logged_in(&mut browser, &application.url));

    let installation = Installation::new(Kafka::shared(), SHORT);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("actions.yaml");
    std::fs::write(&file, action(&keycloak)).unwrap();
    let tracker = installation.tracker(&[]);
    let handler = installation
        .sundown(&["handler"])
        .arg("--actions")
        .arg(&file)
        .env("KEYCLOAK_SECRET", "secret of the handler")
        .start();
    let activity = json!({
        "session_id": sid, "user_id": "jane", "attributes": {"sid": sid},
        "activity_timestamp": Clock::default().wall().as_millis(),
    });
    let record = NewRecord::new(sid.as_str(), activity.to_string());
    installation
        .kafka
        .produce(&installation.session_logs(), [record]);

    let endings = installation.topic("expired_sessions");
    eventually(SOON, "the end of the session", || {
        let read = installation.kafka.read(&endings, Isolation::ReadCommitted);
        (!read.is_empty()).then_some(())
    });
    let ended = Clock::default();
    eventually(SOON, "the end of the session at the application", || {
        (!is_logged_in(&mut browser, &application.url)).then_some(())
    });
    eprintln!("logged out {:?} after the terminal event", ended.elapsed());
    browser.open(&application.url);
    assert_eq!(browser.eval(ASKS_FOR_PASSWORD), true, "{}", browser.html());
    assert_ne!(log_in(&mut browser, &application.url), sid);
    drop((tracker, handler));
}
