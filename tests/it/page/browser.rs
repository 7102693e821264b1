//! A browser without a window, driven by its DevTools protocol.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::{Folder, skip_or_require, wait_until};

/// Only one browser runs at a time: two starve the machine.
static TURN: Mutex<()> = Mutex::new(());

/// A Chromium that is driven over a pipe: JSON, each packet ended by a zero.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
    last_id: u64,
    session: Option<String>,
    /// Exceptions and errors of the page.
    pub problems: Vec<String>,
    _profile: Folder,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts the Chromium that is installed. Skips the test where there is none.
    #[track_caller]
    pub fn start() -> Option<Browser> {
        let Some(name) = installed() else {
            skip_or_require("chromium", "Chromium is not installed");
            return None;
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = Folder::new();
        // It reads from fd 3 and writes to fd 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 >/dev/null 2>&1 </dev/null",
                name,
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                // It connects only to the Distributor.
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.join("profile")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut browser = Browser {
            commands: child.stdin.take().unwrap(),
            replies: BufReader::new(child.stdout.take().unwrap()),
            child,
            last_id: 0,
            session: None,
            problems: Vec::new(),
            _profile: profile,
            _turn: turn,
        };
        let permissions = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
        browser.command("Browser.grantPermissions", &permissions);
        let target = browser.command("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.command("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.command(domain, &json!({}));
        }
        Some(browser)
    }

    #[track_caller]
    pub fn command(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        write!(self.commands, "{command}\0").unwrap();
        loop {
            let mut packet = Vec::new();
            self.replies.read_until(0, &mut packet).unwrap();
            assert_eq!(packet.pop(), Some(0), "the browser ended");
            let packet: Value = serde_json::from_slice(&packet).unwrap();
            if packet["id"] == id {
                assert!(packet.get("error").is_none(), "{method}: {packet}");
                return packet["result"].clone();
            }
            let params = &packet["params"];
            match packet["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.problems.push(params.to_string()),
                Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                    self.problems.push(params["entry"]["text"].to_string());
                }
                _ => {}
            }
        }
    }

    pub fn resize(&mut self, (width, height): (u32, u32)) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Opens the page of a Distributor, and waits until it shows the list.
    #[track_caller]
    pub fn open(&mut self, url: &str, size: (u32, u32), scheme: &str) {
        self.visit(url, size, scheme);
        self.wait_for("document.querySelector('#state')?.textContent === 'live' && fleet.isLoaded");
    }

    /// Opens any page, which may not be loaded yet when this returns.
    #[track_caller]
    pub fn visit(&mut self, url: &str, size: (u32, u32), scheme: &str) {
        self.resize(size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", &features);
        self.command("Page.navigate", &json!({"url": url}));
    }

    /// Leaves the page, which then misses nothing.
    pub fn leave(&mut self) {
        self.command("Page.navigate", &json!({"url": "about:blank"}));
    }

    /// Returns the value of an expression, after its promise is settled.
    #[track_caller]
    pub fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let result = self.command("Runtime.evaluate", &params);
        let exception = &result["exceptionDetails"];
        assert!(exception.is_null(), "{script}: {exception}");
        result["result"]["value"].clone()
    }

    #[track_caller]
    pub fn wait_for(&mut self, script: &str) {
        wait_until(script, || {
            let params = json!({"expression": script, "returnByValue": true});
            // A page that is being loaded throws.
            self.command("Runtime.evaluate", &params)["result"]["value"] == true
        });
    }

    /// Presses a key, by its name.
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            key if key.len() == 1 => key,
            _ => "",
        };
        let down = json!({"type": "keyDown", "key": key, "code": key, "text": text});
        self.command("Input.dispatchKeyEvent", &down);
        self.command(
            "Input.dispatchKeyEvent",
            &json!({"type": "keyUp", "key": key}),
        );
    }

    pub fn write(&mut self, text: &str) {
        self.command("Input.insertText", &json!({"text": text}));
    }

    pub fn click(&mut self, selector: &str) {
        let center = format!(
            "(() => {{ const at = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        );
        let at = self.evaluate(&center);
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.command("Input.dispatchMouseEvent", &event);
        }
    }

    /// Moves the pointer to shares of the width and height of an element.
    pub fn hover(&mut self, selector: &str, (x, y): (f64, f64)) {
        let place = format!(
            "(() => {{ const at = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [at.x + at.width * {x}, at.y + at.height * {y}]; }})()"
        );
        let at = self.evaluate(&place);
        let event = json!({"type": "mouseMoved", "x": at[0], "y": at[1]});
        self.command("Input.dispatchMouseEvent", &event);
    }

    /// Keeps a picture of the page in the folder that `PILCROW_SCREENSHOTS` names, if it does.
    pub fn picture(&mut self, name: &str) {
        let Ok(folder) = std::env::var("PILCROW_SCREENSHOTS") else {
            return;
        };
        let shot = self.command("Page.captureScreenshot", &json!({"format": "png"}));
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(format!("{folder}/{name}.png")).unwrap())
            .spawn()
            .unwrap();
        let mut input = decoder.stdin.take().unwrap();
        input
            .write_all(shot["data"].as_str().unwrap().as_bytes())
            .unwrap();
        drop(input);
        assert!(decoder.wait().unwrap().success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the name of a Chromium that is installed.
fn installed() -> Option<&'static str> {
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    names.into_iter().find(|name| {
        let mut command = Command::new(name);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
