//! Accessibility, checked by axe-core. It is fetched from npm, and is not part of the project.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::browser::{Browser, Chromium};
use super::fleet::Fleet;
use super::{PHONE, WIDE};
use crate::support::{Folder, skip_or_require};

const PACKAGE: &str = "axe-core@4.10.3";

/// Returns the text of axe-core, fetched once.
pub(super) fn axe() -> Option<String> {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{PACKAGE}.js"));
    if let Ok(text) = std::fs::read_to_string(&kept) {
        return Some(text);
    }
    let folder = Folder::new();
    let packed = Command::new("npm")
        .args(["pack", PACKAGE, "--silent", "--fetch-retries=0"])
        .args(["--fetch-timeout=20000", "--pack-destination"])
        .arg(folder.join("."))
        .output();
    let packed = packed.ok().filter(|output| output.status.success())?;
    let archive = String::from_utf8(packed.stdout).ok()?;
    let unpacked = Command::new("tar")
        .args(["-xzOf", &folder.join(archive.trim()), "package/axe.min.js"])
        .output();
    let text = unpacked.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(text.stdout).ok()?;
    std::fs::write(kept, &text).unwrap();
    Some(text)
}

#[test]
fn is_accessible() {
    let Some(axe) = axe() else {
        skip_or_require("axe", "axe-core cannot be fetched from npm");
        return;
    };
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let empty = Fleet::start(0);
    let fleet = Fleet::start(60);
    let mut browser = chromium.open_tab();
    // The policy of the page forbids some of what axe does.
    browser.command("Page.setBypassCSP", &json!({"enabled": true}));
    let pages = [
        (empty.url(), WIDE, "light"),
        (fleet.url(), WIDE, "light"),
        (fleet.url(), WIDE, "dark"),
        (
            fleet.url() + "?by=node&search=goods&tab=limits",
            WIDE,
            "light",
        ),
        (fleet.url() + "?open=goods&state=connected", PHONE, "light"),
    ];
    for (url, size, scheme) in pages {
        browser.open(&url, size, scheme);
        let what = format!("{url} {size:?} {scheme}");
        assert_serious_findings_absent(&mut browser, &axe, &what);
    }
    for size in [WIDE, PHONE] {
        browser.open(&fleet.url(), size, "light");
        browser.evaluate("show({ node: fleet.nodes[0] })");
        browser.wait_for("document.querySelectorAll('.history li').length > 0");
        assert_serious_findings_absent(&mut browser, &axe, "the drawer");
    }
    browser.open(&fleet.url(), WIDE, "light");
    browser.click("#unlock");
    assert_serious_findings_absent(&mut browser, &axe, "the dialog");
    // It finds a missing label.
    browser.open(&fleet.url(), WIDE, "light");
    browser.evaluate("document.querySelector('#service').removeAttribute('aria-label')");
    assert_ne!(serious_findings(&mut browser, &axe), json!([]));
}

#[track_caller]
pub(super) fn assert_serious_findings_absent(browser: &mut Browser, axe: &str, what: &str) {
    let findings = serious_findings(browser, axe);
    assert_eq!(findings, json!([]), "{what}: {findings:#}");
}

fn serious_findings(browser: &mut Browser, axe: &str) -> Value {
    browser.evaluate(&format!("{axe}; 0"));
    let script = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations\
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')\
        .map(({ id, help, nodes }) => [id, help, ...nodes.map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary)]))";
    browser.evaluate(script)
}
