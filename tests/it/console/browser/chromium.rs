//! Chromium, driven by its DevTools protocol over a pair of pipes.
//!
//! The browser reads commands from file descriptor 3 and writes responses and events to 4, each
//! a JSON text terminated by a zero byte. A shell connects two named pipes to them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Timeout of a response and of a page load.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Environment variable that makes a missing browser a failure.
pub const REQUIRED: &str = "SUNDOWN_TEST_REQUIRE_BROWSER";

/// A browser with one page.
pub struct Chromium {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    /// Events that no call has consumed yet.
    events: Vec<Value>,
    session: String,
    last: u64,
    _files: TempDir,
}

impl Chromium {
    /// Starts the browser; `None` if it is not installed and not required.
    pub fn launch() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let found = names.into_iter().find(|name| {
            let version = Command::new(name).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        });
        let Some(name) = found else {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "Chromium is not installed"
            );
            eprintln!("SKIPPED: Chromium is not installed; the pages are not tested in a browser");
            return None;
        };
        Some(Self::start(name))
    }

    fn start(name: &str) -> Self {
        let files = TempDir::new().expect("a folder");
        let [input, output] = ["in", "out"].map(|name| files.path().join(name));
        let made = Command::new("mkfifo").args([&input, &output]).status();
        assert!(made.expect("mkfifo").success());
        let child = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<"$IN" 4>"$OUT""#, "sh", name])
            .env("IN", &input)
            .env("OUT", &output)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--mute-audio"])
            .args(["--remote-debugging-pipe", "--enable-precise-memory-info"])
            .arg(format!("--user-data-dir={}", files.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        // Opening a pipe blocks until the shell has opened the other end.
        let commands = OpenOptions::new().write(true).open(&input);
        let output = File::open(&output).expect("a pipe");
        let mut chromium = Self {
            child,
            commands: commands.expect("a pipe"),
            messages: read(output),
            events: Vec::new(),
            session: String::new(),
            last: 0,
            _files: files,
        };
        chromium.attach();
        chromium
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", &attach);
        let session = attached["sessionId"].as_str().expect("a session");
        session.clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log", "DOM", "Performance"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Calls a method of the protocol and waits for its result.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        write!(self.commands, "{command}\0").expect("the browser listens");
        loop {
            let message = self.next(method);
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let loaded = self.call("Page.navigate", &json!({"url": url}));
        assert!(loaded["errorText"].is_null(), "{url}: {loaded}");
        self.await_event("Page.loadEventFired");
    }

    /// Waits for an event that has not been consumed yet.
    pub fn await_event(&mut self, method: &str) {
        let known = self
            .events
            .iter()
            .position(|event| event["method"] == method);
        if let Some(at) = known {
            self.events.remove(at);
            return;
        }
        loop {
            let message = self.next(method);
            if message["method"] == method {
                return;
            }
            self.events.push(message);
        }
    }

    /// Evaluates an expression in the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &parameters);
        let failed = &result["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        result["result"]["value"].clone()
    }

    /// Sets the size of the window in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets the preferred color scheme: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Allows or forbids scripts in pages.
    pub fn allow_scripts(&mut self, allow: bool) {
        let parameters = json!({"value": !allow});
        self.call("Emulation.setScriptExecutionDisabled", &parameters);
    }

    /// The current HTML of the page.
    pub fn html(&mut self) -> String {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let html = self.call("DOM.getOuterHTML", &json!({"nodeId": root}));
        html["outerHTML"].as_str().expect("text").to_owned()
    }

    /// Clicks the first matching element.
    pub fn click(&mut self, selector: &str) {
        let node = self.node(selector);
        self.call("DOM.scrollIntoViewIfNeeded", &json!({"nodeId": node}));
        let boxes = self.call("DOM.getBoxModel", &json!({"nodeId": node}));
        let corner = |at: usize| boxes["model"]["border"][at].as_f64().expect("a number");
        let (x, y) = (
            f64::midpoint(corner(0), corner(4)),
            f64::midpoint(corner(1), corner(5)),
        );
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Clicks an element that opens another page, and waits until the page is loaded.
    pub fn follow(&mut self, selector: &str) {
        self.events
            .retain(|event| event["method"] != "Page.loadEventFired");
        self.click(selector);
        self.await_event("Page.loadEventFired");
    }

    /// Types into the first matching element.
    pub fn type_into(&mut self, selector: &str, text: &str) {
        let node = self.node(selector);
        self.call("DOM.focus", &json!({"nodeId": node}));
        self.call("Input.insertText", &json!({"text": text}));
    }

    fn node(&mut self, selector: &str) -> Value {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let found = json!({"nodeId": root, "selector": selector});
        let node = self.call("DOM.querySelector", &found)["nodeId"].clone();
        assert_ne!(node, 0, "no element matches {selector}: {}", self.html());
        node
    }

    /// Presses the enter key.
    pub fn press_enter(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": "Enter", "text": "\r", "windowsVirtualKeyCode": 13});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Saves a screenshot of the whole page in the folder `SUNDOWN_TEST_SCREENSHOTS`, if set.
    pub fn save_screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("SUNDOWN_TEST_SCREENSHOTS") else {
            return;
        };
        let shot = self.call(
            "Page.captureScreenshot",
            &json!({"captureBeyondViewport": true}),
        );
        let data = shot["data"].as_str().expect("base64");
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(path).expect("a file"))
            .spawn()
            .expect("base64");
        let mut input = decoder.stdin.take().expect("a pipe");
        input.write_all(data.as_bytes()).expect("it is written");
        drop(input);
        decoder.wait().expect("it ends");
    }

    /// Takes the messages of the page's console since the last call: errors, warnings, blocked
    /// requests and opened dialogs.
    pub fn console_messages(&mut self) -> Vec<String> {
        // The response follows all events sent before it.
        self.call("Runtime.evaluate", &json!({"expression": "0"}));
        let messages = self.events.drain(..).filter(|event| {
            let method = event["method"].as_str().unwrap_or_default();
            let level = &event["params"]["entry"]["level"];
            matches!(
                method,
                "Runtime.exceptionThrown"
                    | "Runtime.consoleAPICalled"
                    | "Page.javascriptDialogOpening"
            ) || method == "Log.entryAdded" && level != "info" && level != "verbose"
        });
        messages.map(|event| event.to_string()).collect()
    }

    fn next(&self, what: &str) -> Value {
        let message = self.messages.recv_timeout(RESPONSE_TIMEOUT);
        message.unwrap_or_else(|error| panic!("{what}: no response from the browser: {error}"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads messages on a thread of its own, so that receiving them can time out.
fn read(output: File) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).expect("JSON");
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}
