//! The documents: their links lead somewhere, and their commands exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::admin::AdminServer;
use crate::gateway;
use crate::support::{Client, Distributor, Folder, command, distributor_command, output_of};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    let at_root = fs::read_dir(root()).unwrap();
    let at_root = at_root.map(|entry| entry.unwrap().path());
    documents.extend(at_root.filter(|path| path.extension().is_some_and(|e| e == "md")));
    documents.sort();
    documents
}

/// Returns the text without code blocks, whose brackets are not links.
fn prose(text: &str) -> String {
    let blocks = text.split("```");
    blocks.step_by(2).collect()
}

/// Returns the targets of all `[text](target)`, without those on other hosts.
fn local_links(text: &str) -> Vec<String> {
    let text = prose(text);
    let after_brackets = text.split("](").skip(1);
    let targets = after_brackets.filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.to_owned());
    targets
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// Returns the anchors of all headings, as forges and mdBook make them.
fn anchors(text: &str) -> HashSet<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let to_anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(to_anchor).collect()
}

/// Returns why a link of a document leads nowhere.
fn broken(document: &Path, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        document.to_owned()
    } else {
        document.parent().unwrap().join(path)
    };
    let Ok(text) = fs::read(&target) else {
        return Some(format!("{}: no file {link}", document.display()));
    };
    let has_anchor = anchor.is_empty() || anchors(&String::from_utf8_lossy(&text)).contains(anchor);
    (!has_anchor).then(|| format!("{}: no heading {link}", document.display()))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        faults.extend(
            local_links(&text)
                .iter()
                .filter_map(|link| broken(&document, link)),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The book has only the pages in `docs`.
#[test]
fn pages_of_the_book_link_to_nothing_outside_it() {
    let docs = root().join("docs");
    for page in documents() {
        let Ok(inside) = page.strip_prefix(&docs) else {
            continue;
        };
        let depth = inside.components().count() - 1;
        let text = fs::read_to_string(&page).unwrap();
        for link in local_links(&text) {
            let ups = link.split('/').filter(|part| *part == "..").count();
            assert!(ups <= depth, "{}: {link}", inside.display());
        }
    }
}

#[test]
fn finds_broken_links() {
    let readme = root().join("README.md");
    assert!(broken(&readme, "docs/security.md").is_none());
    assert!(broken(&readme, "docs/security.md#tokens").is_none());
    assert!(broken(&readme, "docs/no-such-file.md").is_some());
    assert!(broken(&readme, "docs/security.md#no-such-heading").is_some());
    let text = "[a](b.md) ```[c](d.md)``` <https://e> [f](https://g/h.md) [i]()";
    assert_eq!(local_links(text), ["b.md"]);
}

#[test]
fn each_page_is_in_the_table_of_contents() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: HashSet<PathBuf> = local_links(&summary)
        .iter()
        .map(|link| docs.join(link))
        .collect();
    let pages = documents()
        .into_iter()
        .filter(|page| page.starts_with(&docs));
    let missing: Vec<PathBuf> = pages
        .filter(|page| !page.ends_with("SUMMARY.md") && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn readme_is_short() {
    let readme = include_str!("../../README.md");
    assert!(readme.lines().count() <= 160, "{}", readme.lines().count());
}

/// Returns the lines of all code blocks in this language, with the file that each is in.
fn code_lines(language: &str) -> Vec<(PathBuf, String)> {
    let mut lines = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let blocks = text.split("\n```").skip(1).step_by(2);
        for block in blocks.filter_map(|block| block.strip_prefix(language)) {
            let code = block.lines().skip(1);
            lines.extend(code.map(|line| (document.clone(), line.to_owned())));
        }
    }
    lines
}

/// Splits a command line of the documents: words, of which some are in single quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    let comment = words.iter().position(|word| word == "#");
    words.truncate(comment.unwrap_or(words.len()));
    words
}

/// Returns the program of this crate that a command line starts, and its arguments.
fn started_program(line: &str) -> Option<(String, Vec<String>)> {
    let words = split(line);
    let is_program = |word: &String| ["distributor", "gateway", "flood"].contains(&word.as_str());
    if words.first()? == "cargo" {
        let name = words.iter().position(|word| word == "--bin")? + 1;
        let args = words.iter().skip_while(|word| *word != "--").skip(1);
        return Some((words.get(name)?.clone(), args.cloned().collect()));
    }
    let first = words.iter().position(is_program)?;
    let is_prefix = |word: &String| ["taskset", "-c", "0", "1"].contains(&word.as_str());
    let starts_here = words[..first].iter().all(is_prefix);
    starts_here.then(|| (words[first].clone(), words[first + 1..].to_vec()))
}

#[test]
fn commands_in_the_documents_are_valid() {
    let mut checked = 0;
    for (document, line) in code_lines("sh") {
        let Some((program, args)) = started_program(&line) else {
            continue;
        };
        // Arguments are parsed in order, so an invalid one is reported before the help is printed.
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--help"]).collect();
        let args: Vec<&str> = args
            .into_iter()
            .map(|arg| if arg == "PID" { "1" } else { arg })
            .collect();
        let output = output_of(&mut command(&program, &args));
        assert!(
            output.status.success(),
            "{}: {line}: {output:?}",
            document.display()
        );
        checked += 1;
    }
    assert!(checked >= 20, "only {checked} commands were found");
}

#[test]
fn configurations_in_the_documents_are_valid() {
    let folder = Folder::new();
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let (_, toml) = text.split_once("```toml\n").unwrap();
    let (toml, _) = toml.split_once("```").unwrap();
    let tokens = folder.join("tokens");
    fs::write(&tokens, "6f0a7c9e1b5d4f8299d3c1a2b4e6f807\n").unwrap();
    let file = folder.join("distributor.toml");
    fs::write(&file, toml.replace("/etc/pilcrow/tokens", &tokens)).unwrap();
    let flags = ["--config", &file, "--print-config"];
    let output = output_of(&mut distributor_command(&flags));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn registration_by_hand_is_answered_as_shown() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("printf '").unwrap();
    let (packet, _) = rest.split_once('\'').unwrap();
    let shown = include_str!("../../docs/getting-started.md");
    assert!(shown.contains(packet));
    let is_answer = |line: &&str| line.starts_with(r#"{"uri":"/distributes","method":"GET""#);
    let shown = shown.lines().find(is_answer).unwrap();

    let distributor = Distributor::start(&[]);
    let mut client = Client::connect(distributor.addr);
    client.send_raw(packet.as_bytes());
    let mut answer = String::new();
    for _ in 0..shown.matches('¶').count() {
        answer.push_str(&client.next_text().unwrap());
        answer.push('¶');
    }
    assert_eq!(answer, shown);
}

#[test]
fn node_in_node_js_is_the_same_in_readme_and_page() {
    let script = |text: &'static str| {
        let (_, rest) = text.split_once("```js\n").unwrap();
        rest.split_once("```").unwrap().0
    };
    let readme = script(include_str!("../../README.md"));
    assert_eq!(readme, script(include_str!("../../docs/nodes/nodejs.md")));
    assert!(readme.lines().count() <= 20);
}

#[test]
fn each_metric_is_documented() {
    let admin = AdminServer::start(&[]);
    let page = include_str!("../../docs/operations/metrics.md");
    let (of_distributor, of_gateway) = page.split_once("\n## Gateway\n").unwrap();
    assert_metrics_are_in(&admin.get("/metrics").body, of_distributor);
    let distributor = Distributor::start(&[]);
    assert_metrics_are_in(&gateway::admin::metrics_of(distributor.addr), of_gateway);
}

/// Checks that a part of a page has a row for each metric, and no others.
fn assert_metrics_are_in(metrics: &str, page: &str) {
    let mut table = Vec::new();
    let mut help = "";
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            table.push((name, kind, help));
        }
    }
    assert!(!table.is_empty());
    let names: HashSet<&str> = table.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), table.len(), "a family occurs twice: {table:?}");
    for (name, kind, help) in table {
        let start = format!("| `{name}` | {kind} | ");
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("docs/operations/metrics.md has no row {start}"));
        assert!(
            row.ends_with(&format!(" | {help} |")),
            "{row} is not: {help}"
        );
    }
    let is_metric = |row: &&str| {
        let kinds = ["gauge", "counter", "histogram"];
        row.starts_with("| `")
            && kinds
                .iter()
                .any(|kind| row.contains(&format!("` | {kind} | ")))
    };
    for row in page.lines().filter(is_metric) {
        let name = row.split('`').nth(1).unwrap();
        assert!(names.contains(name), "{name} is documented, but gone");
    }
}

/// Returns a table of all flags of a program, from its help.
fn flag_table(program: &str) -> String {
    let output = output_of(command(program, &["--help"]).env("COLUMNS", "100"));
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let mut table = "| flag | default | meaning |\n|---|---|---|\n".to_owned();
    // A flag begins after six spaces, or two if it has a short form; its text after ten.
    let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
    let is_group = |line: &str| !line.starts_with(' ') && line.ends_with(':');
    for line in options.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.starts_with("--") && indent <= 6 {
            rows.push((text.to_owned(), Vec::new()));
        } else if text.starts_with("-h, --help") || text.starts_with("-V, --version") {
            // The same in each program, and their text belongs to no row.
            rows.push((String::new(), Vec::new()));
        } else if indent >= 10 && !rows.is_empty() {
            rows.last_mut().unwrap().1.push(text);
        } else if text == "Examples:" {
            break;
        } else if is_group(line) {
            rows.push((line.to_owned(), Vec::new()));
        }
    }
    for (flag, lines) in rows.into_iter().filter(|(flag, _)| !flag.is_empty()) {
        if is_group(&flag) {
            table += &format!("| **{}** | | |\n", flag.trim_end_matches(':'));
            continue;
        }
        let is_note = |line: &&&str| line.starts_with("[env:") || line.starts_with("[default:");
        let meaning: Vec<&str> = lines
            .iter()
            .filter(|line| !is_note(line) && !line.is_empty())
            .copied()
            .collect();
        let meaning = meaning.join(" ").replace('|', "\\|").replace('<', "\\<");
        let default = lines.iter().find_map(|line| {
            let rest = line.strip_prefix("[default: ")?;
            rest.strip_suffix(']')
        });
        let default = default
            .map(|default| format!("`{default}`"))
            .unwrap_or_default();
        let flag = flag.replace('|', "\\|");
        table += &format!("| `{flag}` | {default} | {} |\n", meaning.trim());
    }
    table
}

/// Compares a page with its generated form. `UPDATE_DOCS=1 cargo test --test it docs::` writes it.
fn assert_generated(path: &str, generate: impl FnOnce(&str) -> String) {
    let path = root().join(path);
    let page = fs::read_to_string(&path).unwrap();
    let generated = generate(&page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    } else {
        assert!(
            page == generated,
            "{}: run: UPDATE_DOCS=1 cargo test --test it docs::",
            path.display()
        );
    }
}

/// Each program is written once, as an example. The rustdoc includes these files; the copies in
/// pages are without the header.
#[test]
fn programs_of_pages_are_the_examples() {
    for (path, name) in [("README.md", "goods"), ("docs/nodes/rust.md", "service")] {
        let example = fs::read_to_string(root().join(format!("examples/{name}.rs"))).unwrap();
        let (_, example) = example.split_once("\n\n").unwrap();
        assert_generated(path, |page| {
            let (before, rest) = page.split_once("```rust,no_run\n").unwrap();
            let (_, after) = rest.split_once("```").unwrap();
            format!("{before}```rust,no_run\n{example}```{after}")
        });
    }
}

#[test]
fn nodes_are_as_short_as_promised() {
    for (name, most) in [("goods", 12), ("service", 60)] {
        let example = fs::read_to_string(root().join(format!("examples/{name}.rs"))).unwrap();
        assert!(example.lines().count() <= most, "{name}");
    }
}

#[test]
fn page_of_nodes_lists_all_examples() {
    let page = fs::read_to_string(root().join("docs/nodes/rust.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_listed =
            page.contains(&format!("| `{name}`")) || page.contains(&format!("| `{name} "));
        assert!(is_listed, "{name}");
    }
}

#[test]
fn tables_of_flags_are_those_of_the_help() {
    let tables = ["distributor", "gateway"]
        .map(|program| format!("## Flags of {program}\n\n{}", flag_table(program)));
    assert_generated("docs/configuration.md", |page| {
        let (text, _) = page.split_once("## Flags of").unwrap();
        format!("{text}{}", tables.join("\n"))
    });
}
