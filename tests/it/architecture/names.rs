//! References between the files of a crate: enough of the syntax of Rust to follow paths to files.

use std::collections::{BTreeMap, BTreeSet};

/// A file of the crate, as a module.
#[derive(Default)]
pub struct Module {
    /// Its path in the folder of the sources.
    pub file: String,
    /// Items that the file defines itself, by name.
    items: BTreeSet<String>,
    /// Imports: the name in this file, and the path.
    imports: BTreeMap<String, Vec<String>>,
    /// The paths that it names. A re-export counts only if the file uses the name.
    named: Vec<Vec<String>>,
}

/// The modules of a crate, by their paths. The root has the empty path.
pub type Crate = BTreeMap<Vec<String>, Module>;

/// Reads the files of a crate: paths in the folder of the sources, and their text.
pub fn read(files: &[(String, String)]) -> Crate {
    let mut modules = Crate::new();
    for (file, text) in files {
        modules.insert(module_path(file), Module::read(file, text));
    }
    let children: Vec<Vec<String>> = modules.keys().cloned().collect();
    for (path, module) in &mut modules {
        let is_child = |name: &str| {
            children.iter().any(|child| {
                child.len() == path.len() + 1
                    && child.starts_with(path)
                    && child.last().is_some_and(|last| last == name)
            })
        };
        module.named.retain(|named| {
            let first = named[0].as_str();
            ["crate", "super", "self"].contains(&first) || is_child(first)
        });
    }
    modules
}

/// Returns the other files that the file of this module names.
pub fn files_named_by<'c>(modules: &'c Crate, path: &[String]) -> BTreeSet<&'c str> {
    let module = &modules[path];
    module
        .named
        .iter()
        .filter_map(|named| resolve(modules, path, named, 0))
        .map(|found| modules[&found].file.as_str())
        .filter(|file| *file != module.file)
        .collect()
}

/// Returns the module whose file defines the item that `named` names in the module `from`.
fn resolve(
    modules: &Crate,
    from: &[String],
    named: &[String],
    depth: usize,
) -> Option<Vec<String>> {
    let mut at = from.to_vec();
    for (place, name) in named.iter().enumerate() {
        match name.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop()?;
            }
            name => {
                let child: Vec<String> = at.iter().cloned().chain([name.to_owned()]).collect();
                if modules.contains_key(&child) {
                    at = child;
                    continue;
                }
                let here = modules.get(&at)?;
                if !here.items.contains(name)
                    && depth < 8
                    && let Some(import) = here.imports.get(name)
                {
                    let rest = &named[place + 1..];
                    let path: Vec<String> = import.iter().chain(rest).cloned().collect();
                    return resolve(modules, &at, &path, depth + 1);
                }
                return Some(at);
            }
        }
    }
    modules.contains_key(&at).then_some(at)
}

fn module_path(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

impl Module {
    fn read(file: &str, text: &str) -> Module {
        let code = without_comments_and_tests(text);
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut rest = String::new();
        let mut re_exports = Vec::new();
        for (statement, is_public) in statements(&code, &mut rest) {
            for (path, name) in paths_of_use(&statement) {
                module.imports.insert(name.clone(), path.clone());
                if is_public {
                    re_exports.push((path, name));
                } else {
                    module.named.push(path);
                }
            }
        }
        let words: BTreeSet<&str> = rest.split(|c: char| !is_in_name(c)).collect();
        for (path, name) in re_exports {
            if words.contains(name.as_str()) {
                module.named.push(path);
            }
        }
        module.items = items(&rest);
        module.named.extend(paths_in(&rest));
        module
    }
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comments_and_tests(text: &str) -> String {
    let mut code = String::new();
    let mut is_test = false;
    let mut skips_block = false;
    for line in text.lines() {
        if skips_block {
            skips_block = line != "}";
            continue;
        }
        let line = line.split("//").next().unwrap_or_default().trim_end();
        // A visibility does not name a module.
        let mut parts = line.split("pub(in ");
        let mut line = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            line.push_str(part.split_once(')').unwrap_or_default().1);
        }
        if line == "#[cfg(test)]" {
            is_test = true;
            continue;
        }
        if std::mem::take(&mut is_test) {
            skips_block = line.ends_with('{');
            continue;
        }
        code.push_str(&line);
        code.push('\n');
    }
    code
}

/// Returns the `use` statements, each with whether it re-exports. All other lines go to `rest`.
fn statements(code: &str, rest: &mut String) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut current: Option<(String, bool)> = None;
    for line in code.lines() {
        if current.is_none() {
            let trimmed = line.trim_start();
            let (visibility, after) = match trimmed.split_once("use ") {
                Some((before, after)) if before.is_empty() || before.starts_with("pub") => {
                    (before, after)
                }
                _ => {
                    rest.push_str(line);
                    rest.push('\n');
                    continue;
                }
            };
            current = Some((after.to_owned(), !visibility.is_empty()));
        } else if let Some((statement, _)) = &mut current {
            statement.push_str(line);
        }
        if current
            .as_ref()
            .is_some_and(|(statement, _)| statement.contains(';'))
        {
            found.extend(current.take());
        }
    }
    found
}

/// Returns each path of a tree of `use`, and its name in this file.
fn paths_of_use(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut prefixes: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut alias = None;
    let mut word = String::new();
    let mut after_as = false;
    for c in tree.chars() {
        if is_in_name(c) {
            word.push(c);
            continue;
        }
        match std::mem::take(&mut word) {
            done if done.is_empty() => {}
            done if done == "as" => after_as = true,
            done if std::mem::take(&mut after_as) => alias = Some(done),
            done => path.push(done),
        }
        match c {
            '{' => prefixes.push(path.clone()),
            ',' | '}' | ';' => {
                let prefix = prefixes.last().cloned().unwrap_or_default();
                if path.len() > prefix.len() {
                    if path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    let name = alias.take().or_else(|| path.last().cloned());
                    found.push((path.clone(), name.unwrap_or_default()));
                }
                if c == '}' {
                    prefixes.pop();
                }
                path = prefixes.last().cloned().unwrap_or_default();
            }
            _ => {}
        }
    }
    found.retain(|(path, _)| !path.is_empty());
    found
}

/// Returns the names of the items that begin at the left margin.
fn items(code: &str) -> BTreeSet<String> {
    const KINDS: [&str; 8] = [
        "struct", "enum", "trait", "fn", "type", "const", "static", "union",
    ];
    let mut found = BTreeSet::new();
    for line in code.lines().filter(|line| !line.starts_with([' ', '}'])) {
        let mut words = line
            .split(|c: char| !is_in_name(c))
            .filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if KINDS.contains(&word)
                && let Some(name) = words.next()
                && !KINDS.contains(&name)
            {
                found.insert(name.to_owned());
                break;
            }
        }
    }
    found
}

/// Returns all `a::b::c` in the code.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let before = &rest[..at];
        let start = before.rfind(|c| !is_in_name(c)).map_or(0, |last| last + 1);
        let mut path = vec![before[start..].to_owned()];
        rest = &rest[at + 2..];
        loop {
            let end = rest.find(|c| !is_in_name(c)).unwrap_or(rest.len());
            if end == 0 {
                break;
            }
            path.push(rest[..end].to_owned());
            rest = &rest[end..];
            let Some(after) = rest.strip_prefix("::") else {
                break;
            };
            rest = after;
        }
        if !path[0].is_empty() {
            found.push(path);
        }
    }
    found
}
