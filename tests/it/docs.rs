//! The documents: their links lead somewhere, and their commands exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

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
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
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
        faults.extend(local_links(&text).iter().filter_map(|link| broken(&document, link)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
    let listed: HashSet<PathBuf> = local_links(&summary).iter().map(|link| docs.join(link)).collect();
    let pages = documents().into_iter().filter(|page| page.starts_with(&docs));
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
