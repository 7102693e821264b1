//! The page of `flood --html`.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{fs, thread};

use serde_json::{Value, json};

use super::axe::{assert_serious_findings_absent, axe};
use super::browser::{Browser, Chromium};
use super::{PHONE, WIDE, texts};
use crate::support::{Folder, program};

/// Pages that several tests look at.
static STORM: LazyLock<String> =
    LazyLock::new(|| page_of("storm --spawn --nodes 200 --rounds 2 --baseline"));
static CHURN: LazyLock<String> = LazyLock::new(|| {
    page_of("churn --spawn --nodes 20 --rate 80 --duration 1s --rounds 2 --baseline")
});

/// Runs a load, and returns its page.
#[track_caller]
fn page_of(flags: &str) -> String {
    let folder = Folder::new();
    let file = folder.join("page.html");
    run(flags, &file);
    fs::read_to_string(file).unwrap()
}

/// Runs a load that writes its page to this file.
#[track_caller]
fn run(flags: &str, file: &str) {
    let mut command = Command::new(program("flood"));
    command.args(flags.split_whitespace());
    command.args(["--html", file]).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "{flags}");
}

/// Writes a page to a file, and returns its url.
fn url_of(page: &str, folder: &Folder) -> String {
    let file = folder.join("page.html");
    fs::write(&file, page).unwrap();
    format!("file://{file}")
}

fn open(browser: &mut Browser, url: &str, size: (u32, u32), scheme: &str) {
    browser.visit(url, size, scheme);
    browser.wait_for(&format!(
        "location.href === {url:?} && document.querySelector('.plot[role=slider]') !== null"
    ));
}

/// Words that the page breaks, labels that overlap, small text, and whether it is too wide.
const LAYOUT: &str = "(() => {
    const labels = [...document.querySelectorAll('.plot')].flatMap((plot) =>
        [...plot.querySelectorAll('.x')].map((label) => label.getBoundingClientRect())
            .filter(({ left }, index, all) => index > 0 && left < all[index - 1].right + 2));
    const texts = [...document.querySelectorAll('main *:not(script)')]
        .filter((one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    const right = Math.max(...[...texts, ...document.querySelectorAll('svg')]
        .map((one) => one.getBoundingClientRect().right));
    return {
        overflows: document.documentElement.scrollWidth > innerWidth || right > innerWidth,
        broken: checks.brokenWords(),
        overlapping: labels.length,
        small: texts.filter((one) => parseFloat(getComputedStyle(one).fontSize) < 12).map((one) => one.textContent),
    };
})()";

#[test]
fn report_is_readable_at_every_width() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    type Load = (&'static str, fn() -> String);
    let loads: [Load; 4] = [
        ("storm", || STORM.clone()),
        ("churn", || CHURN.clone()),
        ("rpc", || {
            page_of("rpc --spawn --connections 4 --duration 500ms --rounds 2 --baseline")
        }),
        ("idle", || {
            page_of("idle --spawn --connections 50 --duration 1s")
        }),
    ];
    let pages = loads.map(|(name, page)| (name, thread::spawn(page)));
    let pages = pages.map(|(name, page)| (name, page.join().unwrap()));
    let folder = Folder::new();
    let mut browser = chromium.open_tab();
    for (name, page) in &pages {
        // A page of its own for the browser, not a change of the one before.
        let url = url_of(page, &folder) + "?" + name;
        for (size, scheme) in [(PHONE, "light"), (PHONE, "dark"), (WIDE, "light")] {
            open(&mut browser, &url, size, scheme);
            browser.evaluate(include_str!("checks.js"));
            let what = format!("{name} at {} px", size.0);
            let layout = browser.evaluate(LAYOUT);
            let expected = json!({"overflows": false, "broken": [], "overlapping": 0, "small": []});
            assert_eq!(layout, expected, "{what}");
            browser.picture(&format!("flood-{name}-{}-{scheme}", size.0));
            browser.evaluate("scrollTo(0, 1e6)");
            browser.picture(&format!("flood-{name}-{}-{scheme}-end", size.0));
        }
    }
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn report_shows_its_origin_and_both_themes() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let folder = Folder::new();
    let file = folder.join("a page.html");
    let flags = "rpc --spawn --connections 2 --duration 100ms --rounds 1 --params {\"a\":\"<b>&\"}";
    run(flags, &file);
    let url = format!("file://{}", file.replace(' ', "%20"));
    let mut browser = chromium.open_tab();
    open(&mut browser, &url, WIDE, "light");
    let terms = ["Command line", "Host", "Machine", "Date", "Version"];
    assert_eq!(browser.evaluate(&texts("dt")), json!(terms));
    let command_line = format!(
        "flood {} --html '{}'",
        flags.replace("{", "'{").replace("}", "}'"),
        file
    );
    let values = browser.evaluate(&texts("dd"));
    assert_eq!(values[0], command_line);
    let version = values[4].as_str().unwrap();
    let expected = concat!("flood ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(expected), "{version}");

    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(ground);
    open(&mut browser, &url, WIDE, "dark");
    assert_ne!(browser.evaluate(ground), light);
}

#[test]
fn curves_show_values_at_the_pointer_and_by_keys() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let folder = Folder::new();
    let url = url_of(&STORM, &folder);
    let mut browser = chromium.open_tab();
    open(&mut browser, &url, WIDE, "light");
    browser.evaluate("document.querySelector('.plot').scrollIntoView()");
    let readout = "(() => { const [readout] = document.querySelectorAll('.readout'); \
                   return readout.hidden ? null : [...readout.children].map((one) => one.textContent); })()";
    assert_eq!(browser.evaluate(readout), Value::Null);

    // The points that the chart was drawn from.
    let data = browser.evaluate("JSON.parse(document.querySelector('.plot script').textContent)");
    let shown = |percentile: &Value| {
        let line = |series: &Value| {
            let points = series["points"].as_array().unwrap();
            let point = points.iter().find(|point| point[2] == *percentile).unwrap();
            let [name, value] = [&series["name"], &point[3]].map(|text| text.as_str().unwrap());
            json!(format!("{name} {value}"))
        };
        json!([percentile, line(&data[0]), line(&data[1])])
    };
    let points = data[0]["points"].as_array().unwrap();
    let (first, second, last) = (&points[0][2], &points[1][2], &points[points.len() - 1][2]);
    assert_eq!(last, "100%");
    for (x, at) in [(0.0, first), (0.999, last)] {
        browser.hover(".plot", (x, 0.5));
        assert_eq!(browser.evaluate(readout), shown(at), "at {x}");
        browser.picture(&format!("flood-hover-{x}"));
        let fits = "(() => { const { left, right } = document.querySelector('.readout').getBoundingClientRect(); \
                    return left >= 0 && right <= innerWidth; })()";
        assert_eq!(browser.evaluate(fits), true);
    }
    browser.hover("h1", (0.5, 0.5));
    assert_eq!(browser.evaluate(readout), Value::Null);

    browser.press("Tab");
    browser.press("Home");
    assert_eq!(browser.evaluate(readout), shown(first));
    browser.press("ArrowRight");
    assert_eq!(browser.evaluate(readout), shown(second));
    let text = "document.activeElement.getAttribute('aria-valuetext')";
    let text = browser.evaluate(text);
    let expected = shown(second);
    for part in expected.as_array().unwrap() {
        let part = part.as_str().unwrap();
        assert!(text.as_str().unwrap().contains(part), "{text}: {part}");
    }
    browser.press("End");
    assert_eq!(browser.evaluate(readout), shown(last));
    browser.press("Escape");
    assert_eq!(browser.evaluate(readout), Value::Null);
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn report_is_accessible() {
    let Some(axe) = axe() else {
        // The test of the admin page reports that.
        return;
    };
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let folder = Folder::new();
    let url = url_of(&CHURN, &folder);
    let mut browser = chromium.open_tab();
    for (size, scheme) in [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light")] {
        open(&mut browser, &url, size, scheme);
        browser.evaluate("document.querySelector('.plot').focus()");
        let what = format!("{size:?} {scheme}");
        assert_serious_findings_absent(&mut browser, &axe, &what);
    }
}
