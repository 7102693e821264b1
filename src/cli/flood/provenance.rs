//! The origin of a report: the command line, program and machine that produced it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

#[derive(Default, Debug, Serialize)]
pub(crate) struct Provenance {
    /// The command line, quoted for a POSIX shell.
    pub(crate) command_line: String,
    pub(crate) version: String,
    /// Name of the machine that generated the load.
    pub(crate) host: String,
    /// Its operating system and processors.
    pub(crate) machine: String,
    /// Start of the run, in UTC as in RFC 3339.
    pub(crate) started: String,
}

impl Provenance {
    /// Describes a run of this process that starts now.
    pub(crate) fn now(version: String) -> Provenance {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let host = read("/proc/sys/kernel/hostname");
        let host = host.trim();
        let release = read("/proc/sys/kernel/osrelease");
        let processors = processors(&read("/proc/cpuinfo"));
        let system = ["Linux", release.trim(), env::consts::ARCH].join(" ");
        let machine = [system, processors].into_iter();
        let machine: Vec<_> = machine.filter(|part| !part.is_empty()).collect();
        Provenance {
            command_line: command_line(env::args_os()),
            version: version.trim().to_owned(),
            host: if host.is_empty() { "unknown" } else { host }.to_owned(),
            machine: machine.join(", "),
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
}

/// Returns the number and the model of the processors that `/proc/cpuinfo` describes.
fn processors(cpuinfo: &str) -> String {
    let fields = || cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let values = |name| fields().filter(move |(field, _)| field.trim() == name);
    let count = values("processor").count();
    let model = values("model name").next().map(|(_, model)| model.trim());
    let model = model.map(|model| format!(" ({model})")).unwrap_or_default();
    match count {
        0 => String::new(),
        1 => format!("1 CPU{model}"),
        _ => format!("{count} CPUs{model}"),
    }
}

/// Quotes arguments for a shell. The program is named without its folder.
fn command_line(arguments: impl Iterator<Item = impl AsRef<OsStr>>) -> String {
    let quoted = arguments.enumerate().map(|(number, argument)| {
        let argument = argument.as_ref();
        let file_name = Path::new(argument).file_name();
        let argument = file_name.filter(|_| number == 0).unwrap_or(argument);
        quote(&argument.to_string_lossy())
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn quote(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:,=@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_arguments_for_a_shell() {
        let arguments = ["target/release/flood", "rpc", "--params", r#"{"a":"it's"}"#];
        assert_eq!(
            command_line(
                [&arguments[..], &["--html", "/tmp/a b.html", ""]]
                    .concat()
                    .iter()
            ),
            r#"flood rpc --params '{"a":"it'\''s"}' --html '/tmp/a b.html' ''"#
        );
    }

    #[test]
    fn counts_processors() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Fast 3000\n\nprocessor\t: 1\nmodel name\t: Fast 3000\n";
        assert_eq!(processors(cpuinfo), "2 CPUs (Fast 3000)");
        assert_eq!(processors("processor : 0\n"), "1 CPU");
        assert_eq!(processors(""), "");
    }
}
