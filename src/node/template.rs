//! The text of a route, with its path parameters.

use super::error::Error;
use crate::protocol::{ErrorCode, Route};

/// A method and a path that may have parameters: `/goods/{id}`, `/files/{*rest}`.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) method: String,
    pub(super) path: String,
    /// Names of the parameters, in their order.
    pub(super) names: Vec<String>,
    /// The node serves all that no other node serves.
    pub(super) is_catch_all: bool,
}

impl Template {
    pub(super) fn new(method: &str, path: &str) -> Template {
        Template {
            method: method.to_owned(),
            path: path.to_owned(),
            names: names(path),
            is_catch_all: false,
        }
    }

    /// Returns the route to be registered: that of the path before its first parameter.
    ///
    /// # Errors
    ///
    /// Returns an error if it is only `METHOD/`, unless the route is to catch all.
    pub(super) fn registered(&self) -> Result<Route<'static>, Error> {
        let literal = literal(&self.path);
        let path = match literal.strip_suffix(PARAMETER) {
            None => literal,
            // Nodes are found by whole segments.
            Some(before) => match before.rfind('/') {
                Some(0) | None => "/".to_owned(),
                Some(end) => before.get(..end).unwrap_or_default().to_owned(),
            },
        };
        if path == "/" && !self.is_catch_all {
            let (method, path) = (&self.method, &self.path);
            let message = format!(
                "route {method}{path} would receive every {method} request that no other node \
                 serves: add .catch_all() if it is to"
            );
            return Err(Error::new(ErrorCode::InvalidParameters, message));
        }
        Ok(Route::new(self.method.clone(), path))
    }
}

fn names(path: &str) -> Vec<String> {
    let path = path.replace("{{", "").replace("}}", "");
    let parts = path.split('{').skip(1);
    let names = parts.map(|part| part.split('}').next().unwrap_or_default());
    names
        .map(|name| name.trim_start_matches('*').to_owned())
        .collect()
}

/// Stands for a parameter. No path has it: control characters are rejected.
const PARAMETER: char = '\0';

/// Returns the path up to its first parameter, with the braces that were escaped. If there is a
/// parameter, it ends with [`PARAMETER`].
fn literal(path: &str) -> String {
    let mut literal = String::new();
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        if (c == '{' || c == '}') && chars.peek() == Some(&c) {
            chars.next();
        } else if c == '{' {
            literal.push(PARAMETER);
            break;
        }
        literal.push(c);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(path: &str) -> String {
        let mut template = Template::new("GET", path);
        template.is_catch_all = true;
        template.registered().unwrap().to_string()
    }

    #[test]
    fn registers_the_path_before_its_parameters() {
        for (path, url) in [
            ("/goods", "GET/goods"),
            ("/goods/", "GET/goods/"),
            ("/goods/{id}", "GET/goods"),
            ("/goods/{id}/price", "GET/goods"),
            ("/shops/x/{*rest}", "GET/shops/x"),
            ("/goods/no-{id}", "GET/goods"),
            ("/{id}", "GET/"),
            ("/{*rest}", "GET/"),
            ("/", "GET/"),
            ("/a{{b}}/{c}", "GET/a{b}"),
            ("/a{{b}}", "GET/a{b}"),
        ] {
            assert_eq!(registered(path), url, "{path}");
        }
    }

    #[test]
    fn refuses_to_catch_all_by_accident() {
        for path in ["/", "/{id}", "/{*rest}", "/no-{id}"] {
            let error = Template::new("GET", path).registered().unwrap_err();
            assert!(error.message().contains(".catch_all()"), "{error}");
        }
        assert!(Template::new("GET", "/a").registered().is_ok());
    }

    #[test]
    fn names_the_parameters() {
        assert_eq!(names("/a/{b}/{c}/{*rest}"), ["b", "c", "rest"]);
        assert_eq!(names("/{{a}}/{b}"), ["b"]);
        assert!(names("/a").is_empty());
    }
}
