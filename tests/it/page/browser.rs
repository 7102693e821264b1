//! A browser without a window, driven by its DevTools protocol.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Folder, skip_or_require, wait_until};

/// As many tests use the browser at a time: more starve the machine.
const TABS: usize = 2;

/// The Chromium of the tests that run now.
static SHARED: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());

/// A Chromium that is driven over a pipe: JSON, each packet ended by a zero. It ends with the last
/// test that holds it, waiting or not.
pub struct Chromium {
    child: Child,
    commands: Mutex<ChildStdin>,
    last_id: AtomicU64,
    sessions: Arc<Sessions>,
    /// Replies to commands for the browser rather than for a tab.
    replies: Mutex<Receiver<Value>>,
    open_tabs: Mutex<usize>,
    tab_closed: Condvar,
    _profile: Folder,
}

/// The tab that each packet is for. The browser itself has the empty name.
#[derive(Default)]
struct Sessions(Mutex<HashMap<String, Sender<Value>>>);

impl Chromium {
    /// Returns the Chromium that is running, or starts the one that is installed. Skips the test
    /// where there is none.
    #[track_caller]
    pub fn shared() -> Option<Arc<Chromium>> {
        let Some(name) = *INSTALLED else {
            skip_or_require("chromium", "Chromium is not installed");
            return None;
        };
        let mut shared = lock(&SHARED);
        let chromium = shared
            .upgrade()
            .unwrap_or_else(|| Arc::new(Chromium::start(name)));
        *shared = Arc::downgrade(&chromium);
        Some(chromium)
    }

    fn start(name: &str) -> Chromium {
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
                // Pages of the address bar, in a process for each window.
                "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.join("profile")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let sessions = Arc::<Sessions>::default();
        let replies = sessions.add("");
        sessions.read(child.stdout.take().unwrap());
        Chromium {
            commands: Mutex::new(child.stdin.take().unwrap()),
            child,
            last_id: AtomicU64::new(0),
            sessions,
            replies: Mutex::new(replies),
            open_tabs: Mutex::new(0),
            tab_closed: Condvar::new(),
            _profile: profile,
        }
    }

    /// Opens an empty tab, once fewer than [`TABS`] are open.
    #[track_caller]
    pub fn open_tab(self: Arc<Chromium>) -> Browser {
        let mut open_tabs = self
            .tab_closed
            .wait_while(lock(&self.open_tabs), |open| *open == TABS)
            .unwrap_or_else(PoisonError::into_inner);
        *open_tabs += 1;
        drop(open_tabs);
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        let context = self.command("Target.createBrowserContext", &json!({}));
        let context = id(&context["browserContextId"]);
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let granted = json!({"permissions": permissions, "browserContextId": context});
        self.command("Browser.grantPermissions", &granted);
        let created = json!({"url": "about:blank", "browserContextId": context});
        let target = self.command("Target.createTarget", &created);
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = id(&self.command("Target.attachToTarget", &attach)["sessionId"]);
        let mut browser = Browser {
            packets: self.sessions.add(&session),
            chromium: self,
            context,
            session,
            problems: Vec::new(),
        };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.command(domain, &json!({}));
        }
        let focused = json!({"enabled": true});
        browser.command("Emulation.setFocusEmulationEnabled", &focused);
        browser
    }

    /// Runs a command for the browser itself.
    #[track_caller]
    fn command(&self, method: &str, params: &Value) -> Value {
        let replies = lock(&self.replies);
        let id = self.send("", method, params);
        loop {
            let packet = next(&replies, method);
            if packet["id"] == id {
                return result_of(packet, method);
            }
        }
    }

    fn send(&self, session: &str, method: &str, params: &Value) -> u64 {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let mut command = json!({"id": id, "method": method, "params": params});
        if !session.is_empty() {
            command["sessionId"] = json!(session);
        }
        // An error shows in the wait for the reply.
        let _ = write!(lock(&self.commands), "{command}\0");
        id
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its helper processes too, which write to the profile.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Sessions {
    fn add(&self, session: &str) -> Receiver<Value> {
        let (sender, packets) = channel();
        lock(&self.0).insert(session.to_owned(), sender);
        packets
    }

    /// Reads packets for all sessions until the browser ends.
    fn read(self: &Arc<Sessions>, output: impl Read + Send + 'static) {
        let sessions = Arc::clone(self);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut packet = Vec::new();
            while output.read_until(0, &mut packet).is_ok() && packet.pop() == Some(0) {
                let packet: Value = serde_json::from_slice(&std::mem::take(&mut packet)).unwrap();
                let session = packet["sessionId"].as_str().unwrap_or_default();
                if let Some(receiver) = lock(&sessions.0).get(session) {
                    let _ = receiver.send(packet);
                }
            }
            lock(&sessions.0).clear();
        });
    }
}

/// A tab with storage and permissions of its own.
pub struct Browser {
    chromium: Arc<Chromium>,
    context: String,
    session: String,
    packets: Receiver<Value>,
    /// Exceptions and errors of the page.
    pub problems: Vec<String>,
}

impl Browser {
    /// Opens a tab in the shared browser. Skips the test where there is none.
    #[track_caller]
    pub fn start() -> Option<Browser> {
        Some(Chromium::shared()?.open_tab())
    }

    #[track_caller]
    pub fn command(&mut self, method: &str, params: &Value) -> Value {
        let id = self.chromium.send(&self.session, method, params);
        loop {
            let packet = next(&self.packets, method);
            if packet["id"] == id {
                return result_of(packet, method);
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

    /// Returns what `copy` writes to the clipboard, which all tabs share.
    #[track_caller]
    pub fn copied(&mut self, copy: impl FnOnce(&mut Browser)) -> Value {
        static CLIPBOARD: Mutex<()> = Mutex::new(());
        let _turn = lock(&CLIPBOARD);
        copy(self);
        self.evaluate("navigator.clipboard.readText()")
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
        let context = json!({"browserContextId": self.context});
        self.chromium
            .send("", "Target.disposeBrowserContext", &context);
        lock(&self.chromium.sessions.0).remove(&self.session);
        *lock(&self.chromium.open_tabs) -= 1;
        self.chromium.tab_closed.notify_one();
    }
}

/// Waits for a packet.
#[track_caller]
fn next(packets: &Receiver<Value>, method: &str) -> Value {
    let packet = packets.recv_timeout(DEADLINE);
    packet.unwrap_or_else(|error| panic!("the browser does not answer {method}: {error}"))
}

#[track_caller]
fn result_of(mut packet: Value, method: &str) -> Value {
    assert!(packet.get("error").is_none(), "{method}: {packet}");
    packet["result"].take()
}

/// A test that fails leaves the browser as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a Chromium that is installed.
static INSTALLED: LazyLock<Option<&str>> = LazyLock::new(|| {
    let names = [
        // Without its window, a page takes two thirds of the processor time.
        "chromium-headless-shell",
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
});
