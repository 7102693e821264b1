//! The page in a real browser, where there is one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::admin::AdminServer;
use crate::support::{Folder, skip_or_require, wait_until};

/// Whichever Chromium is installed.
fn installed() -> Option<&'static str> {
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    let found = names.into_iter().find(|name| {
        let mut command = Command::new(name);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        skip_or_require("chromium", "Chromium is not installed");
    }
    found
}

/// A browser without a window, driven by its DevTools protocol over a pipe: JSON, each ended by a zero.
struct Browser {
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
    last_id: u64,
    session: Option<String>,
    _profile: Folder,
}

impl Browser {
    fn start(name: &str) -> Browser {
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
            ])
            .args([
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
            _profile: profile,
        };
        let target = browser.command("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.command("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        browser
    }

    #[track_caller]
    fn command(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        write!(self.commands, "{command}\0").unwrap();
        loop {
            let mut reply = Vec::new();
            self.replies.read_until(0, &mut reply).unwrap();
            assert_eq!(reply.pop(), Some(0), "the browser ended");
            let reply: Value = serde_json::from_slice(&reply).unwrap();
            if reply["id"] == id {
                assert!(reply.get("error").is_none(), "{method}: {reply}");
                return reply["result"].clone();
            }
        }
    }

    fn open(&mut self, url: &str, (width, height): (u32, u32), scheme: &str) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", &screen);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", &features);
        self.command("Page.navigate", &json!({"url": url}));
    }

    #[track_caller]
    fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "returnByValue": true});
        self.command("Runtime.evaluate", &params)["result"]["value"].clone()
    }

    #[track_caller]
    fn wait_for(&mut self, script: &str) {
        wait_until(script, || self.evaluate(script) == true);
    }

    /// The page as it is seen, as a PNG in base64.
    fn screenshot(&mut self) -> String {
        let shot = self.command("Page.captureScreenshot", &json!({"format": "png"}));
        shot["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `PILCROW_SCREENSHOTS=folder` keeps them there, to be looked at.
fn keep(name: &str, screenshot: &str) {
    let Ok(folder) = std::env::var("PILCROW_SCREENSHOTS") else {
        return;
    };
    let mut decoder = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(format!("{folder}/{name}.png")).unwrap())
        .spawn()
        .unwrap();
    let mut input = decoder.stdin.take().unwrap();
    input.write_all(screenshot.as_bytes()).unwrap();
    drop(input);
    assert!(decoder.wait().unwrap().success());
}

const WIDE: (u32, u32) = (1200, 860);
const PHONE: (u32, u32) = (390, 844);

#[test]
fn a_browser_shows_nodes_and_events() {
    let Some(name) = installed() else {
        return;
    };
    let admin = AdminServer::start_ready(&[]);
    // What would run, were it taken for markup.
    let evil = "<img src=x onerror=document.title='pwned'>";
    let _evil = admin.distributor.join(evil, 9010);
    let url = format!("http://{}/", admin.http);
    let mut browser = Browser::start(name);
    browser.open(&url, WIDE, "light");
    browser.wait_for("document.querySelector('#state')?.textContent === 'live'");
    browser.wait_for("document.querySelectorAll('#rows tr').length === 1");
    assert_eq!(
        browser.evaluate("document.querySelector('#rows .name').textContent"),
        evil
    );
    assert_eq!(
        browser.evaluate("document.images.length + document.title"),
        "0Distributor"
    );

    // Nor does a name change the direction of the text after it.
    assert_eq!(
        browser.evaluate("getComputedStyle(document.querySelector('#events strong')).unicodeBidi"),
        "isolate"
    );

    // What happens is shown as it does, without the page being loaded again.
    let goods = admin.distributor.join("goods", 9011);
    browser.wait_for("document.querySelector('#rows').textContent.includes('127.0.0.1:9011')");
    browser.wait_for("document.querySelector('#events li').textContent.includes('goods joined')");
    browser.wait_for("document.querySelector('#nodes-now').textContent === '2'");
    assert!(
        browser
            .evaluate("document.querySelectorAll('svg polyline').length")
            .as_u64()
            >= Some(1)
    );
    let search = |text: &str| {
        format!(
            "(() => {{ const s = document.querySelector('#search'); s.value = '{text}'; s.dispatchEvent(new Event('input')); return document.querySelectorAll('#rows tr').length; }})()"
        )
    };
    for (text, rows) in [
        ("GOODS", 1),
        ("get/goods", 1),
        (":9010", 1),
        ("127.0.0.1", 2),
        ("nobody", 0),
        ("", 2),
    ] {
        assert_eq!(browser.evaluate(&search(text)), rows, "{text}");
    }
    drop(goods);
    browser.wait_for(
        "document.querySelector('#events li').textContent.includes('closed: closed by the peer')",
    );
    browser.wait_for("document.querySelectorAll('#rows tr').length === 1");

    let names = ["goods", "members", "purchases", "gateway", "logs", "search"];
    let _nodes: Vec<_> = (9020u16..)
        .zip(names)
        .map(|(port, name)| admin.distributor.join(name, port))
        .collect();
    let mut many = admin.distributor.connect();
    let urls: Vec<String> = (0..40).map(|i| format!("GET/many/{i}")).collect();
    many.post(&json!({"port": 9030, "name": "many", "urls": urls}));
    browser.wait_for("document.querySelector('#rows').textContent.includes('and 30 more')");
    assert_eq!(browser.evaluate(&search("get/many/39")), 1);
    browser.wait_for("document.querySelector('.urls').textContent.startsWith('GET/many/39  ')");
    drop(many);

    let mut shots = Vec::new();
    for (name, size, scheme) in [
        ("light", WIDE, "light"),
        ("dark", WIDE, "dark"),
        ("phone-light", PHONE, "light"),
        ("phone-dark", PHONE, "dark"),
    ] {
        browser.open(&url, size, scheme);
        browser.wait_for("document.querySelectorAll('#rows tr').length === 7");
        let fits = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(
            browser.evaluate(fits),
            true,
            "{name} is wider than its screen"
        );
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor");
        shots.push(ground);
        keep(name, &browser.screenshot());
    }
    assert!(
        shots[0] != shots[1] && shots[0] == shots[2] && shots[1] == shots[3],
        "{shots:?}"
    );

    // It says so when the Distributor is gone.
    drop(admin);
    browser.wait_for("document.querySelector('#state').textContent.startsWith('not reachable')");
}
