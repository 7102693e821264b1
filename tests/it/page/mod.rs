//! The admin page, and the page of a load test, in a real browser, where there is one.

mod axe;
mod browser;
mod fleet;
mod flood;

use serde_json::json;

use self::browser::{Browser, Chromium};
use self::fleet::{ADMIN_TOKEN, Fleet};
use crate::admin::AdminServer;
use crate::support::{Client, Distributor, Folder, ReservedPort};

const WIDE: (u32, u32) = (1440, 900);
const PHONE: (u32, u32) = (390, 844);
const SIZES: [(u32, u32); 5] = [PHONE, (768, 1024), (1024, 768), WIDE, (1920, 1080)];

/// The texts of elements.
fn texts(selector: &str) -> String {
    format!("[...document.querySelectorAll({selector:?})].map((one) => one.textContent)")
}

#[test]
fn fits_all_widths_with_any_number_of_nodes() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let fleets = [0, 5, 300, 5000].map(|count| (count, Fleet::start(count)));
    let mut browser = chromium.open_tab();
    for (count, fleet) in fleets {
        for size in SIZES {
            let scheme = if count == 300 { "dark" } else { "light" };
            browser.open(&fleet.url(), size, scheme);
            browser.evaluate(include_str!("checks.js"));
            browser.wait_for("document.querySelectorAll('.chart svg *').length > 20");
            browser.wait_for("document.querySelector('#events li') !== null");
            let what = format!("{count} nodes at {} px", size.0);
            let layout = browser.evaluate("checks.layout()");
            assert_eq!(layout["overflows"], false, "{what}: {layout}");
            assert!(layout["height"].as_u64() < Some(3000), "{what}: {layout}");
            assert_eq!(layout["broken"], json!([]), "{what}");
            assert_eq!(layout["cut"], json!([]), "{what}");
            let margins = if size == PHONE { 24 } else { 40 };
            assert_eq!(layout["used"], size.0 - margins, "{what}");
            browser.picture(&format!("{count}-{}", size.0));
            if count == 0 {
                continue;
            }
            // All nodes in a row: only those in sight are elements.
            browser.click("#groupings [data-value=node]");
            browser.wait_for(&format!("tree.rows.length === {count}"));
            let layout = browser.evaluate("checks.layout()");
            assert!(layout["height"].as_u64() < Some(3000), "{what}: {layout}");
            assert!(layout["rows"].as_u64() < Some(80), "{what}: {layout}");
            assert_eq!(layout["cut"], json!([]), "{what}");
            assert_eq!(layout["overflows"], false, "{what}: {layout}");
            browser.evaluate("document.querySelector('#tree').scrollTop = 1e9");
            browser.wait_for("tree.elements.has(keyOf(tree.rows.at(-1)))");
            assert!(browser.evaluate(&texts(".row")).as_array().unwrap().len() < 80);
        }
        assert_eq!(browser.problems, [""; 0]);
        browser.leave();
    }
}

#[test]
fn shows_text_of_nodes_as_text() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let admin = AdminServer::start_ready(&[]);
    // This runs if it is taken for markup.
    let evil = "<img src=x onerror=document.title='pwned'>";
    let _evil = admin.distributor.join(evil, 9010);
    let url = format!(
        "http://{}/?service={evil}&open={evil}&node=1-{evil}",
        admin.http
    );
    browser.open(&url, WIDE, "light");
    browser.wait_for("document.querySelectorAll('.row').length === 2");
    assert_eq!(
        browser.evaluate(&texts(".service .name .text")),
        json!([evil])
    );
    assert_eq!(browser.evaluate(&texts("#drawer-name")), json!([evil]));
    assert_eq!(browser.evaluate("document.images.length"), 0);
    let title = format!("{} – Distributor", admin.distributor.addr);
    assert_eq!(browser.evaluate("document.title"), title);
    // A name does not change the direction of the text after it.
    browser.wait_for("document.querySelector('#events .name') !== null");
    let direction = "getComputedStyle(document.querySelector('#events .name')).unicodeBidi";
    assert_eq!(browser.evaluate(direction), "isolate");
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn follows_joins_and_departures() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let admin = AdminServer::start_ready(&[]);
    browser.open(&format!("http://{}/", admin.http), WIDE, "light");
    // Without nodes it shows how to register one.
    let port = admin.distributor.addr.port();
    let line = format!("| nc 127.0.0.1 {port}");
    browser.wait_for("!document.querySelector('#empty').hidden");
    let shown = browser.evaluate("document.querySelector('.command code').textContent");
    assert!(shown.as_str().unwrap().ends_with(&line), "{shown}");
    let copied = browser.copied(|browser| {
        browser.click(".command .copy");
        browser.wait_for("document.querySelector('.command .copy').textContent === 'Copied'");
    });
    assert_eq!(copied, shown);
    // The packet of that line registers a node.
    let packet = shown.as_str().unwrap().split('\'').nth(1).unwrap();
    let mut goods = admin.distributor.connect();
    goods.send_raw(packet);
    browser.wait_for("document.querySelector('.row .text')?.textContent === 'goods'");

    let more: Vec<_> = (9011..9014)
        .map(|port| admin.distributor.join("goods", port))
        .collect();
    browser.wait_for("document.querySelector('.row .count').textContent === '4'");
    browser.wait_for("document.querySelector('#events li').textContent.includes('goods joined')");
    browser.wait_for("document.querySelector('.chart .figure').textContent.startsWith('4')");
    drop(more);
    browser.wait_for("document.querySelector('#events li').textContent.includes('goods left')");
    browser.wait_for("document.querySelector('.row .count').textContent === '1'");
    // Refreshes that overlap take each sample once.
    let twice = "(async () => { samples = []; status.history.last = 0;
        await Promise.all([refreshStatus(), refreshStatus()]);
        const times = new Set(samples.map((sample) => sample.unix_ms));
        return times.size > 0 && times.size === samples.length; })()";
    assert_eq!(browser.evaluate(twice), true);
    // Refusals are counted.
    admin.send_request("GET", "/nodes", "Host: evil.example\r\n");
    browser.evaluate("refreshStatus()");
    browser.wait_for("document.querySelector('#limit-badge').textContent === '1'");
    browser.click("#tab-limits");
    let counts = browser.evaluate(&texts("#panel-limits tr:not(.zero) td.number"));
    assert_eq!(counts, json!(["1"]));
    browser.evaluate(include_str!("checks.js"));
    assert_eq!(browser.evaluate("checks.brokenWords()"), json!([]));
    assert_eq!(browser.problems, [""; 0]);

    // The page is dimmed once the Distributor does not answer.
    drop(admin);
    browser.wait_for("document.body.classList.contains('stale')");
    browser.picture("stale");
    let state = browser.evaluate("document.querySelector('#state').textContent");
    let time = state.as_str().unwrap();
    let time = time.strip_prefix("connection lost, as of ").unwrap();
    assert_eq!((time.len(), time.matches(':').count()), (8, 2), "{state}");
    let title = browser.evaluate("document.title");
    assert!(
        title.as_str().unwrap().starts_with("not connected"),
        "{title}"
    );
}

#[test]
fn recovers_when_the_distributor_restarts() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (nodes, http) = (ReservedPort::new(), ReservedPort::new());
    let [nodes, http] = [&nodes, &http].map(|port| port.addr.to_string());
    let start = || Distributor::start_at(&nodes, &["--http", &http, "--warm-up", "0s"]);
    let first = start();
    let _goods = first.join("goods", 9010);
    browser.open(&format!("http://{http}/"), WIDE, "light");
    browser.wait_for("document.querySelector('.row .text')?.textContent === 'goods'");
    let epoch = browser.evaluate("status.epoch");
    drop(first);
    browser.wait_for("document.body.classList.contains('stale')");
    let second = start();
    let _shop = second.join("shop", 9011);
    browser.wait_for("document.querySelector('#state').textContent === 'live'");
    browser.wait_for("document.querySelector('.row .text')?.textContent === 'shop'");
    browser.wait_for(
        "['Warm-up began', 'shop joined'].every((text) => \
         document.querySelector('#events').textContent.includes(text))",
    );
    let events = browser.evaluate("document.querySelector('#events').textContent");
    assert!(!events.as_str().unwrap().contains("goods"), "{events}");
    assert_ne!(browser.evaluate("status.epoch"), epoch);
}

#[test]
fn shows_how_to_register_with_a_token() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let files = Folder::new();
    let (path, token) = (files.join("tokens"), "0123456789abcdef0123456789abcdef");
    std::fs::write(&path, token).unwrap();
    let admin = AdminServer::start(&["--warm-up", "0s", "--token-file", &path]);
    // As a password in the address, which the page's own requests must not repeat.
    let url = format!("http://operator:{token}@{}/", admin.http);
    browser.open(&url, WIDE, "light");
    browser.wait_for("document.querySelector('.command code') !== null");
    let shown = browser.evaluate("document.querySelector('.command code').textContent");
    let packet = shown.as_str().unwrap().split('\'').nth(1).unwrap();
    let mut node = Client::connect(admin.distributor.addr);
    node.send_raw(packet.replace("TOKEN", token));
    browser.wait_for("document.querySelector('.row .text')?.textContent === 'goods'");
}

#[test]
fn keeps_filters_in_the_address_bar() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let mut fleet = Fleet::start(50);
    let mut browser = chromium.open_tab();
    let plain = fleet.admin.distributor.join("goods", 12_345);
    browser.open(&fleet.url(), WIDE, "light");
    let names = texts(".service .name .text");
    let search = |browser: &mut Browser| browser.evaluate("location.search");
    browser.press("/");
    browser.write("GET/good");
    browser.wait_for("tree.rows[0]?.group.name === 'goods'");
    assert_eq!(search(&mut browser), "?search=GET/good");
    assert_eq!(browser.evaluate(&names), json!(["goods"]));
    // A search with few results shows the nodes.
    browser.wait_for("tree.rows.length > 2");
    browser.evaluate("[...document.querySelectorAll('#sessions .chip')].find((chip) => chip.textContent.startsWith('plain')).click()");
    assert_eq!(search(&mut browser), "?search=GET/good&session=plain");
    assert_eq!(browser.evaluate("tree.rows.length"), 2);
    browser.evaluate("document.querySelector('#states .chip').click()");
    browser.evaluate("document.querySelector('.head .age button').click()");
    let address = "?search=GET/good&state=connected&session=plain&sort=age";
    assert_eq!(search(&mut browser), address);

    // The same address shows the same.
    let url = format!(
        "{}{address}",
        fleet.url().trim_end_matches('/').to_owned() + "/"
    );
    browser.open(&url, WIDE, "light");
    browser.wait_for("tree.rows.length === 2");
    let shown = "document.querySelector('#shown').textContent";
    assert_eq!(browser.evaluate(shown), "1 of 51\u{a0}nodes");
    let pressed = texts(".chip[aria-pressed=true]");
    assert_eq!(
        browser.evaluate(&pressed),
        json!(["connected 1", "plain 1"])
    );
    let sorted = "document.querySelector('[aria-sort=ascending]').dataset.sort";
    assert_eq!(browser.evaluate(sorted), "age");
    // A node that has left is not found.
    drop(plain);
    browser.wait_for("document.querySelector('#empty').textContent.includes('No node matches')");
    browser.click("#clear");
    assert_eq!(search(&mut browser), "?sort=age");
    browser.wait_for("tree.rows.length > 5");

    // One service, chosen from the list of all.
    browser.evaluate(
        "(() => { const select = document.querySelector('#service'); select.focus(); \
         select.value = '=goods'; select.dispatchEvent(new Event('change')); })()",
    );
    assert_eq!(search(&mut browser), "?service=goods&sort=age");
    assert_eq!(browser.evaluate(&names), json!(["goods"]));
    fleet.nodes.clear();
    browser.wait_for("document.querySelector('.command code') !== null");
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn opens_a_node_by_keyboard() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let admin = AdminServer::start_ready(&[]);
    let mut many = admin.distributor.connect();
    let urls: Vec<String> = (0..60).map(|i| format!("GET/many/{i}")).collect();
    many.post(&json!({"port": 9030, "name": "many", "urls": urls}));
    let _nodes: Vec<_> = (9020u16..)
        .zip(["goods", "members", "search"])
        .map(|(port, name)| admin.distributor.join(name, port))
        .collect();
    browser.open(&format!("http://{}/", admin.http), WIDE, "dark");
    browser.wait_for("tree.rows.length === 4");
    let focused = "document.activeElement.row && keyOf(document.activeElement.row)";
    browser.press("/");
    assert_eq!(browser.evaluate("document.activeElement.id"), "search");
    for (key, row) in [
        ("ArrowDown", "sgoods"),
        ("ArrowDown", "smany"),
        ("ArrowRight", "smany"),
        ("ArrowRight", "n1"),
        ("ArrowLeft", "smany"),
        ("End", "ssearch"),
        ("Home", "sgoods"),
        ("PageDown", "ssearch"),
        ("ArrowUp", "smembers"),
        ("ArrowUp", "n1"),
    ] {
        browser.press(key);
        assert_eq!(browser.evaluate(focused), row, "{key}");
    }
    // The focus comes back to the row.
    for _ in 0..2 {
        browser.press("Enter");
        browser.wait_for("!document.querySelector('#drawer').hidden");
        browser.press("Escape");
        browser.wait_for("document.querySelector('#drawer').hidden");
        assert_eq!(browser.evaluate(focused), "n1");
    }
    browser.press("Enter");
    let label = "document.activeElement.getAttribute('aria-label')";
    assert_eq!(browser.evaluate(label), "Close details");
    let facts = browser.evaluate(&texts(".node-facts dd > :first-child"));
    for fact in [
        "127.0.0.1:9030",
        "plain",
        "does not acknowledge",
        "nothing",
        "1",
    ] {
        assert!(
            facts.as_array().unwrap().contains(&json!(fact)),
            "{fact}: {facts}"
        );
    }
    browser.wait_for("document.querySelectorAll('.history li').length === 1");
    let joined = browser.evaluate(&texts(".history li"))[0].to_string();
    assert!(
        joined.contains("joined") && joined.contains("Sent to 1"),
        "{joined}"
    );
    assert_eq!(
        browser
            .evaluate(&texts(".urls li"))
            .as_array()
            .unwrap()
            .len(),
        50
    );
    browser.evaluate("[...document.querySelectorAll('#drawer .link')].find((one) => one.textContent === 'Show all 60').click()");
    assert_eq!(
        browser
            .evaluate(&texts(".urls li"))
            .as_array()
            .unwrap()
            .len(),
        60
    );
    let button = "document.querySelector('[aria-label=\"Copy address\"]')";
    let copied = browser.copied(|browser| {
        browser.evaluate(&format!("{button}.click()"));
        browser.wait_for(&format!("{button}.textContent === 'Copied'"));
    });
    assert_eq!(copied, "127.0.0.1:9030");
    browser.evaluate(include_str!("checks.js"));
    assert_eq!(browser.evaluate("checks.brokenWords()"), json!([]));
    browser.picture("drawer");

    // A link to it opens it, and it stays open when the node leaves.
    let address = browser.evaluate("location.href");
    browser.open(address.as_str().unwrap(), WIDE, "dark");
    browser.wait_for("document.querySelectorAll('.urls li').length === 50");
    // All events are loaded after the history, which then lacks those in between.
    browser.wait_for("document.querySelector('#events li') && !drawer.isLoading");
    browser.evaluate("drawer.history = []; drawDrawer(); loadEvents(); 0");
    browser.wait_for("document.querySelectorAll('.history li').length === 1");
    drop(many);
    browser.wait_for("document.querySelector('#drawer .pill').textContent === 'left'");
    browser.wait_for("document.querySelectorAll('.history li').length === 2");
    browser.press("Escape");
    browser.wait_for("document.querySelector('#drawer').hidden");
    assert_eq!(browser.evaluate("location.search"), "?open=many");

    // On a phone it covers the whole page, and the browser's back button closes it.
    browser.open(
        &format!("http://{}/?open=goods", admin.http),
        PHONE,
        "light",
    );
    browser.wait_for("document.querySelector('.row.child') !== null");
    browser.click(".row.child");
    browser.wait_for("!document.querySelector('#drawer').hidden");
    assert_eq!(
        browser.evaluate("document.querySelector('main').inert"),
        true
    );
    browser.evaluate(include_str!("checks.js"));
    assert_eq!(browser.evaluate("checks.brokenWords()"), json!([]));
    browser.picture("drawer-phone");
    browser.evaluate("history.back()");
    browser.wait_for("document.querySelector('#drawer').hidden");
    // Sortable without a head.
    browser.evaluate("document.querySelector('#direction').click()");
    let first = "tree.rows[0].group.name";
    assert_eq!(browser.evaluate(first), "search");
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn drains_with_the_admin_token() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let fleet = Fleet::start(26);
    let mut browser = chromium.open_tab();
    browser.open(&format!("{}?open=auth", fleet.url()), WIDE, "light");
    browser.wait_for("document.querySelectorAll('.row.child').length === 2");
    browser.click(".row.child");
    browser.wait_for("!document.querySelector('#drawer').hidden");
    assert_eq!(browser.evaluate(&texts("button.danger")), json!([]));
    browser.click("#unlock");
    browser.write("not the token of it");
    browser.press("Enter");
    browser.wait_for(
        "document.querySelector('dialog .bad').textContent.startsWith('unknown admin token')",
    );
    // The browser's own report of that answer.
    assert!(
        browser
            .problems
            .iter()
            .all(|problem| problem.contains("403"))
    );
    browser.problems.clear();
    browser.evaluate("document.querySelector('#token').select()");
    browser.write(ADMIN_TOKEN);
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('#drawer button.danger').length === 2");
    browser.wait_for("document.querySelector('dialog') === null");
    browser.evaluate("[...document.querySelectorAll('#drawer .danger')].find((one) => one.textContent === 'Drain all 2').click()");
    browser.picture("drain");
    assert_eq!(browser.evaluate("fleet.nodes.length"), 26);
    browser.evaluate("document.querySelector('dialog .danger').click()");
    browser.wait_for("document.querySelector('dialog [role=status]').textContent.includes('2\\u00a0nodes left the list')");
    browser.wait_for("fleet.nodes.length === 24");
    browser.wait_for("document.querySelector('#drawer .pill').textContent === 'left'");
    browser.problems.retain(|problem| !problem.contains("400"));
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn remembers_the_theme() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let admin = AdminServer::start_ready(&[]);
    let url = format!("http://{}/", admin.http);
    let mut grounds = Vec::new();
    let ground = "getComputedStyle(document.body).backgroundColor";
    for (theme, scheme) in [
        ("auto", "light"),
        ("auto", "dark"),
        ("light", "dark"),
        ("dark", "light"),
    ] {
        browser.open(&url, WIDE, scheme);
        browser.wait_for("document.documentElement.dataset.theme !== undefined");
        while browser.evaluate("document.documentElement.dataset.theme") != theme {
            browser.click("#theme");
        }
        browser.open(&url, WIDE, scheme);
        assert_eq!(
            browser.evaluate("document.documentElement.dataset.theme"),
            theme
        );
        grounds.push(browser.evaluate(ground));
    }
    assert_eq!(grounds[0], grounds[2]);
    assert_eq!(grounds[1], grounds[3]);
    assert_ne!(grounds[0], grounds[1]);
}

#[test]
fn charts_show_values_that_are_pointed_at() {
    let Some(chromium) = Chromium::shared() else {
        return;
    };
    let fleet = Fleet::start(5);
    let mut browser = chromium.open_tab();
    browser.open(&fleet.url(), WIDE, "light");
    browser.wait_for("document.querySelectorAll('.chart .line').length >= 2");
    let scales = browser.evaluate(&texts(".chart:first-child .scale"));
    assert_eq!(scales[0], "6", "{scales}");
    let at = browser.evaluate("(() => { const at = document.querySelector('.plot').getBoundingClientRect(); return [at.right - 12, at.y + 30]; })()");
    let moved = json!({"type": "mouseMoved", "x": at[0], "y": at[1]});
    browser.command("Input.dispatchMouseEvent", &moved);
    let tip = "document.querySelector('.tip:not([hidden])')?.textContent";
    browser.wait_for(&format!("{tip}?.endsWith('5 nodes') === true"));
    browser.picture("tip");
    // The same by keyboard, read out.
    browser.evaluate("document.querySelectorAll('.plot')[1].focus()");
    let spoken = "document.querySelector('#spoken').textContent";
    for _ in 0..5 {
        browser.press("ArrowLeft");
        if browser.evaluate(spoken).to_string().contains("5 joined") {
            break;
        }
    }
    let spoken = browser.evaluate(spoken);
    assert!(
        spoken.as_str().unwrap().ends_with("5 joined, 0 left"),
        "{spoken}"
    );
    // The window slides: what was at its right end moves to the left.
    let place = "document.querySelector('.chart .tick').x1.baseVal.value";
    let before = browser.evaluate(place);
    browser.wait_for(&format!("{place} !== {before}"));
    assert_eq!(browser.problems, [""; 0]);
}
