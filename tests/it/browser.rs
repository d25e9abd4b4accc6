//! A headless Chromium, driven over its pipe by the DevTools protocol: no port, no web socket, no driver program.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a Chromium is, if there is one. `FIELDMARK_CHROMIUM` names another.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("FIELDMARK_CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let usual = ["chromium", "chromium-browser", "google-chrome"];
    let usual = usual.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    named.into_iter().chain(usual).find(|path| path.exists())
}

/// One tab of a browser with a profile of its own.
pub(crate) struct Browser {
    process: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    session: String,
    sent: u64,
    /// What the page asked the network or the disk for, itself included, and what it logged.
    pub(crate) requests: Vec<String>,
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser. Where there is none the test prints so and is done, unless `FIELDMARK_REQUIRE_CHROMIUM` is
    /// set, as it is where changes are checked.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var_os("FIELDMARK_REQUIRE_CHROMIUM").is_none(), "there is no Chromium");
            println!("SKIPPED: there is no Chromium here, so no page was opened");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The browser reads orders from descriptor 3 and answers on 4; the shell puts the pipes there.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#]).arg(program);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ]);
        command.args(["--disable-quic", "--disable-background-networking", "--disable-component-update"]);
        command.args([
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
            "--hide-scrollbars",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let orders = process.stdin.take().unwrap();
        let mut pipe = BufReader::new(process.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let answer = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                if answer.is_ok_and(|answer| sender.send(answer).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let (requests, complaints) = (Vec::new(), Vec::new());
        let session = String::new();
        let mut browser =
            Self { process, orders, answers, session, sent: 0, requests, complaints, _profile: profile };
        browser.open_tab();
        Some(browser)
    }

    fn open_tab(&mut self) {
        let tab = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = &tab["targetId"];
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Network", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Sends an order and waits for its answer; what happens meanwhile is noted.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut order = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.clone().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
        loop {
            let answer = self.next().unwrap_or_else(|reason| panic!("{method}: {reason}"));
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    fn next(&mut self) -> Result<Value, RecvTimeoutError> {
        let message = self.answers.recv_timeout(PATIENCE)?;
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string())
            }
            Some("Log.entryAdded") => self.complaints.push(parameters["entry"]["text"].to_string()),
            _ => {}
        }
        Ok(message)
    }

    /// Opens a file and waits until its script says that it is ready.
    pub(crate) fn open(&mut self, page: &Path, fragment: &str) {
        // A change of the fragment alone would load nothing.
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        let url = format!("file://{}#{fragment}", page.display());
        self.call("Page.navigate", json!({ "url": url }));
        let ready = "location.protocol === 'file:' && document.documentElement?.dataset.ready === 'true'";
        let start = Instant::now();
        while self.run(ready) != true {
            assert!(start.elapsed() < PATIENCE, "{url}: {:?}", self.complaints);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The value of an expression of JavaScript in the page; a promise is waited for.
    pub(crate) fn run(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until the page has drawn what was changed.
    pub(crate) fn settle(&mut self) {
        self.run(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
        );
    }

    /// Presses a key as a user does.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "code": key }));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.orders.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
