//! The page, joined from its files, and its content security policy.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::context::Answer;

/// The page. Each line that refers to one of [`FILES`] is replaced by its text.
const HTML: &str = include_str!("page/page.html");

const FILES: [(&str, &str); 13] = [
    ("page.css", include_str!("page/page.css")),
    ("dom.js", include_str!("page/dom.js")),
    ("format.js", include_str!("page/format.js")),
    ("fleet.js", include_str!("page/fleet.js")),
    ("view.js", include_str!("page/view.js")),
    ("source.js", include_str!("page/source.js")),
    ("charts.js", include_str!("page/charts.js")),
    ("tree.js", include_str!("page/tree.js")),
    ("filters.js", include_str!("page/filters.js")),
    ("activity.js", include_str!("page/activity.js")),
    ("admin.js", include_str!("page/admin.js")),
    ("drawer.js", include_str!("page/drawer.js")),
    ("main.js", include_str!("page/main.js")),
];

/// The element for each kind of file, and the beginning and end of a line that refers to such a
/// file.
const ELEMENTS: [(&str, &str, &str); 2] = [
    ("style", "<link rel=\"stylesheet\" href=\"", "\">"),
    ("script", "<script src=\"", "\"></script>"),
];

#[derive(Default)]
struct Page {
    text: String,
    /// Allows the elements with the files by their hashes, and requests to this server.
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(Page::join);
static HEADERS: LazyLock<[(&str, &str); 1]> =
    LazyLock::new(|| [("Content-Security-Policy", &PAGE.policy)]);

pub(super) fn answer() -> Answer {
    Answer::new("text/html; charset=utf-8", PAGE.text.as_bytes()).with(&*HEADERS)
}

impl Page {
    fn join() -> Page {
        let mut page = Page::default();
        let mut hashes = [String::new(), String::new()];
        for line in HTML.lines() {
            let found = ELEMENTS
                .iter()
                .zip(&mut hashes)
                .find_map(|(element, hashes)| {
                    let (element, begin, end) = element;
                    let name = line.strip_prefix(begin)?.strip_suffix(end)?;
                    let (_, text) = FILES.iter().find(|(file, _)| *file == name)?;
                    Some((element, text, hashes))
                });
            if let Some((element, text, hashes)) = found {
                page.text += &format!("<{element}>{text}</{element}>\n");
                *hashes += &format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
            } else {
                page.text += line;
                page.text.push('\n');
            }
        }
        let [styles, scripts] = hashes;
        page.policy = format!(
            "default-src 'none'; style-src{styles}; script-src{scripts}; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_each_file_once() {
        let Page { text, policy } = Page::join();
        for (name, file) in FILES {
            assert_eq!(text.matches(file).count(), 1, "{name}");
            for (element, ..) in ELEMENTS {
                let end = format!("</{element}");
                assert!(!file.contains(&end), "{name} ends its element");
            }
        }
        for outside in [" src=", "<link rel=\"stylesheet", "http://", "https://"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert_eq!(policy.matches("'sha256-").count(), FILES.len());
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
