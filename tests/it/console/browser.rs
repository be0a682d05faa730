//! The pages in a real browser.

mod axe;
pub mod chromium;
mod crowd;
mod memory;

use serde_json::json;
use sundown::clock::Clock;

use super::{Console, HOSTILE, SOON, TOKEN, activity};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;
use chromium::Chromium;

const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];
/// Name, width and height of each window.
const WINDOWS: [(&str, u32, u32); 2] = [("desktop", 1280, 900), ("phone", 390, 844)];
/// Pixels by which the page is wider than the window.
const OVERFLOW: &str = "document.documentElement.scrollWidth - window.innerWidth";
/// The number of elements injected by unescaped text.
const INJECTED: &str =
    "document.querySelectorAll('main img, main script, main [onerror], main [style]').length";

/// All pages of an installation with [`produce_hostile`] data.
fn pages(installation: &Installation<'_>, console: &Console) -> Vec<String> {
    let menu = [
        "dashboard",
        "consumers",
        "health",
        "sessions",
        "policies",
        "terminal-events",
        "topics",
        "dead-letters",
        "errors",
    ];
    let mut pages: Vec<String> = menu.map(|name| format!("/{name}")).into();
    let record = console.client.json("/api/v1/dead-letters")["dead_letters"][0]["record"].clone();
    let partition = &record["partition"];
    let topic = record["topic"].as_str().expect("a topic");
    pages.push(format!("/topics/{topic}/{partition}"));
    pages.push(format!(
        "/topics/{}/{partition}",
        installation.session_logs()
    ));
    pages.push(format!(
        "/topics/{}/0",
        installation.topic("sundown.processes")
    ));
    let hostile: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    pages.push(format!("/sessions?session={hostile}"));
    pages.push(format!("/sessions?user={hostile}"));
    pages.push(format!("/sessions?attributes=tenant%3D{hostile}"));
    pages.push(format!("/dead-letters?topic={hostile}&reason={hostile}"));
    pages.push("/login".to_owned());
    pages
}

/// Produces hostile data: a live session, an ended one, a dead letter, a report and a pause.
fn produce_hostile(installation: &Installation<'_>, console: &Console) {
    let bad = NewRecord {
        headers: vec![(HOSTILE.into(), HOSTILE.into())],
        ..NewRecord::new(HOSTILE, HOSTILE)
    };
    let ended = format!("ended {HOSTILE}");
    let end = json!({"session_id": ended, "event": "logout"});
    let report = json!({
        "v": 1, "id": HOSTILE, "role": "tracker", "version": HOSTILE, "host": HOSTILE, "pid": 1,
        "started_at": HOSTILE, "reported_at": "", "state": "running",
        "not_ready": {HOSTILE: HOSTILE}, "assignments": [], "admin": HOSTILE,
        "policies": [{"name": HOSTILE, "generation": 7}],
        "errors": [{"at": "", "level": "error", "target": HOSTILE, "message": HOSTILE}],
    });
    let processes = installation.topic("sundown.processes");
    let report = NewRecord::new(HOSTILE, report.to_string());
    installation.kafka.produce(&processes, [report]);
    let pause = json!({"role": "handler", "partition": 1, "reason": HOSTILE});
    assert_eq!(console.api("POST", "/api/v1/pauses", &pause).status, 202);
    let records = [
        activity(HOSTILE, HOSTILE),
        activity(&ended, HOSTILE),
        NewRecord::new(ended.as_str(), end.to_string()),
        bad,
    ];
    installation
        .kafka
        .produce(&installation.session_logs(), records);
    console.await_terminal_event(&ended);
    console.await_json("/api/v1/dead-letters", "a dead letter", |body| {
        body["dead_letters"].get(0).map(|_| ())
    });
}

fn ready<'a>() -> (Installation<'a>, RoleProcess, Console) {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    (installation, tracker, console)
}

/// Logs the browser in with the form of the page.
fn log_in(chromium: &mut Chromium, console: &Console) {
    chromium.open(&console.client.url("/login"));
    chromium.type_into("input[name=token]", TOKEN);
    chromium.follow("main button");
}

#[test]
fn every_page_fits_the_window_is_accessible_and_runs_no_foreign_scripts() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    produce_hostile(&installation, &console);
    log_in(&mut chromium, &console);
    let pages = pages(&installation, &console);
    let mut faults = Vec::new();
    for scheme in ["light", "dark"] {
        chromium.prefer(scheme);
        for (window, width, height) in WINDOWS {
            chromium.resize(width, height);
            for (number, page) in pages.iter().enumerate() {
                let place = format!("{page} ({window}, {scheme})");
                chromium.open(&console.client.url(page));
                chromium
                    .eval("document.querySelectorAll('details').forEach(one => one.open = true)");
                chromium.save_screenshot(&format!("{number:02}-{window}-{scheme}"));
                let overflow = chromium.eval(OVERFLOW).as_f64().expect("a number");
                if overflow > 0.0 {
                    faults.push(format!("{place}: {overflow} px wider than the window"));
                }
                let injected = chromium.eval(INJECTED);
                if injected != 0 {
                    faults.push(format!("{place}: {injected} injected elements"));
                }
                let found = axe::faults(&mut chromium).unwrap_or_default();
                faults.extend(found.iter().map(|fault| format!("{place}: {fault}")));
                let messages = chromium.console_messages();
                faults.extend(messages.iter().map(|message| format!("{place}: {message}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_open_page_updates_without_a_reload_and_keeps_scroll_and_focus() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    let logs = installation.session_logs();
    let end = |session: &str| {
        let now = Clock::default().wall().as_millis();
        let event = json!({"session_id": session, "event": "logout", "activity_timestamp": now});
        NewRecord::new(session, event.to_string())
    };
    let first: Vec<NewRecord> = (0..40)
        .map(|number| end(&format!("first {number}")))
        .collect();
    installation.kafka.produce(&logs, first);
    console.await_terminal_event("first 39");
    chromium.resize(800, 600);
    chromium.open(&console.client.url("/terminal-events"));
    chromium.eval("window.loadedOnce = true; window.scrollTo(0, 300)");
    chromium.eval("document.querySelector('.filters a').focus({preventScroll: true})");
    installation
        .kafka
        .produce(&logs, [end("seen by an open page")]);
    let shows = "document.body.innerText.includes('seen by an open page')";
    eventually(SOON, "the terminal event on the open page", || {
        (chromium.eval(shows) == true).then_some(())
    });
    assert_eq!(chromium.eval("window.loadedOnce"), true);
    assert_eq!(chromium.eval("window.scrollY"), 300);
    let focus = chromium.eval("document.activeElement.textContent.split(' ')[0]");
    assert_eq!(focus, "idle_timeout");
    assert_eq!(
        chromium.eval("document.getElementById('live-state').textContent"),
        "live"
    );

    // A paused page does not change; after it is resumed, it shows the missed updates.
    chromium.click("#live-pause");
    installation.kafka.produce(&logs, [end("while paused")]);
    console.await_terminal_event("while paused");
    let shows = "document.body.innerText.includes('while paused')";
    assert_eq!(chromium.eval(shows), false);
    chromium.click("#live-pause");
    eventually(SOON, "the missed updates", || {
        (chromium.eval(shows) == true).then_some(())
    });
    assert_eq!(chromium.console_messages(), Vec::<String>::new());
}

#[test]
fn open_details_and_focus_survive_rows_inserted_above() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    let logs = installation.session_logs();
    let await_dead_letters = |count: usize| {
        console.await_json("/api/v1/dead-letters", "dead letters", |body| {
            let dead_letters = body["dead_letters"].as_array()?;
            (dead_letters.len() == count).then_some(())
        });
    };
    let bad = |value: &str| NewRecord::new("key", value);
    installation.kafka.produce(&logs, [bad("the first")]);
    await_dead_letters(1);
    chromium.open(&console.client.url("/dead-letters"));
    chromium.click("details summary");
    chromium.eval("document.querySelector('details summary').focus()");
    installation.kafka.produce(&logs, [bad("the second")]);
    await_dead_letters(2);
    let rows = "document.querySelectorAll('.log li').length";
    eventually(SOON, "both on the open page", || {
        (chromium.eval(rows) == 2).then_some(())
    });
    let open = chromium.eval(
        "[...document.querySelectorAll('.log li')].map(one => one.querySelector('details').open)",
    );
    assert_eq!(open, json!([false, true]));
    let focused = "document.activeElement.closest('li').innerText.includes('the first')";
    assert_eq!(chromium.eval(focused), true);
}

#[test]
fn a_revocation_by_attributes_is_confirmed_with_the_number_of_sessions() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    let logs = installation.session_logs();
    let of_tenant = |session: &str, tenant: &str| {
        let event =
            json!({"user_id": session, "session_id": session, "attributes": {"tenant": tenant}});
        NewRecord::new(session, event.to_string())
    };
    let records = [
        of_tenant("s", "acme"),
        of_tenant("t", "acme"),
        of_tenant("u", "globex"),
    ];
    installation.kafka.produce(&logs, records);
    console.await_json("/api/v1/sessions?attributes=*", "three sessions", |body| {
        (body["count"] == 3).then_some(())
    });
    log_in(&mut chromium, &console);
    chromium.open(&console.client.url("/sessions"));
    chromium.type_into("input[name=attributes]", "tenant=acme");
    chromium.follow("form:has(input[name=attributes]) button");
    let text = "document.querySelector('main').innerText";
    let shown = chromium.eval(text).to_string();
    assert!(shown.contains("2 live sessions match"), "{shown}");
    chromium.save_screenshot("attributes");
    chromium.click("details.confirm summary");
    let shown = chromium.eval(text).to_string();
    assert!(shown.contains("Yes, end 2 sessions"), "{shown}");
    chromium.type_into("details.confirm input[name=note]", "contract ended");
    chromium.save_screenshot("confirmation");
    chromium.follow("details.confirm button");
    let shown = chromium.eval(text).to_string();
    assert!(shown.contains("The revocation has been written"), "{shown}");
    for session in ["s", "t"] {
        console.await_terminal_event(session);
    }
    let left = console.client.json("/api/v1/sessions?attributes=*");
    assert_eq!(left["count"], 1);
    for ending in installation.read("expired_sessions") {
        assert_eq!(ending.json()["initiator"]["note"], "contract ended");
    }
    assert_eq!(chromium.console_messages(), Vec::<String>::new());
}

#[test]
fn an_open_confirmation_survives_updates() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (_installation, _tracker, console) = ready();
    log_in(&mut chromium, &console);
    chromium.open(&console.client.url("/health"));
    chromium.click("[data-part=pauses] summary");
    chromium.type_into("input[name=partition]", "2");
    chromium.type_into("input[name=reason]", "a rehearsal");
    // Other parts of the page still update.
    let rendered = "document.querySelector('[data-part=partitions]').outerHTML";
    let before = chromium.eval(rendered);
    eventually(SOON, "a change of the page", || {
        (chromium.eval(rendered) != before).then_some(())
    });
    let typed = chromium.eval("document.querySelector('input[name=reason]').value");
    assert_eq!(typed, "a rehearsal");
    chromium.follow("[data-part=pauses] .ask button");
    let html = chromium.html();
    assert!(html.contains("a rehearsal"), "{html}");
    console.await_json("/api/v1/health", "the pause", |body| {
        (body["partitions"][2]["condition"] == "paused").then_some(())
    });
    // Enter activates the focused button.
    chromium.eval("document.querySelector('[data-part=pauses] td button').focus()");
    chromium.press_enter();
    console.await_json("/api/v1/pauses", "no pause", |body| {
        (body["pauses"] == json!([])).then_some(())
    });
}

#[test]
fn without_scripts_every_page_can_be_read_and_its_forms_work() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    produce_hostile(&installation, &console);
    installation
        .kafka
        .produce(&installation.session_logs(), [activity("s", "joe")]);
    console.await_json("/api/v1/sessions?session=s", "the session", |body| {
        body["sessions"].get(0).map(|_| ())
    });
    chromium.allow_scripts(false);
    log_in(&mut chromium, &console);
    for page in pages(&installation, &console) {
        chromium.open(&console.client.url(&page));
        let html = chromium.html();
        assert!(html.contains("<h1>"), "{page}: {html}");
        assert!(!html.contains("data-live=\"\"") || html.contains("reload to update"));
    }
    // The theme, a lookup, and the revocation of the found session.
    chromium.open(&console.client.url("/sessions"));
    chromium.follow(".to-dark, .to-light");
    assert!(chromium.html().contains("data-theme=\"dark\""));
    chromium.type_into("input[name=session]", "s");
    chromium.follow("main .ask button");
    assert!(chromium.html().contains("1h after its last activity"));
    chromium.click("td summary");
    chromium.follow("td button.danger");
    assert_eq!(console.await_terminal_event("s")["reason"], "revoked");
    assert!(chromium.html().contains("The revocation has been written"));
    // A dead letter is discarded after a confirmation.
    chromium.open(&console.client.url("/dead-letters"));
    chromium.follow("form.row button.danger");
    chromium.follow("main button.danger");
    assert!(
        chromium.html().contains("1 dead letter"),
        "{}",
        chromium.html()
    );
    console.await_json("/api/v1/dead-letters", "no dead letters", |body| {
        (body["dead_letters"] == json!([])).then_some(())
    });
}

#[test]
fn charts_have_tooltips_and_a_text_alternative() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let (installation, _tracker, console) = ready();
    installation
        .kafka
        .produce(&installation.session_logs(), [activity("s", "joe")]);
    chromium.open(&console.client.url("/dashboard"));
    let live = "document.querySelector('#chart-sessions .legend b').textContent";
    eventually(SOON, "the session in the chart", || {
        (chromium.eval(live) == "1").then_some(())
    });
    let titles = "[...document.querySelectorAll('#chart-sessions .column title')].map(one => one.textContent)";
    let titles = chromium.eval(titles);
    let last = titles
        .as_array()
        .and_then(|all| all.last())
        .expect("columns");
    let last = last.as_str().expect("text");
    assert!(
        last.contains("UTC\nlive: ") && last.ends_with(" sessions"),
        "{last}"
    );
    let summary = chromium.eval("document.querySelector('#chart-sessions desc').textContent");
    let summary = summary.as_str().expect("text");
    assert!(
        summary.starts_with("The last 3 min. ") && summary.contains("live: 1 sessions"),
        "{summary}"
    );
    let time = chromium.eval("fetch('/consumers').then(one => one.text()).then(html => new DOMParser().parseFromString(html, 'text/html').querySelector('time').title)");
    assert!(time.as_str().expect("text").ends_with('Z'), "{time}");
}
