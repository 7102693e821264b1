//! Completion scripts and manual pages, from the definition of a command line.

use std::io;

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::failure::{Failure, failed};
use crate::cli::print::print;
use crate::cli::value::shown;
use crate::cli::version::VERSION;

// Commands of all programs. Not a doc comment, which would replace the description of the program.
#[derive(Subcommand, Debug)]
pub(crate) enum Generate {
    /// Print a completion script for a shell
    Completions {
        /// Shell that reads the script
        shell: Shell,
    },
    /// Print a manual page, as for man -l -
    Man {
        /// Command that the page describes [default: the whole program]
        command: Option<String>,
    },
}

impl Generate {
    /// Prints what it generates from the command line of a program.
    pub(crate) fn run(&self, program: Command) -> Result<(), Failure> {
        let text = match self {
            Generate::Completions { shell } => completions(program, *shell),
            Generate::Man { command } => manual_page(program, command.as_deref())?,
        };
        print(&String::from_utf8_lossy(&text))
    }
}

/// Returns the completion script of a program.
fn completions(program: Command, shell: Shell) -> Vec<u8> {
    let name = program.get_name().to_owned();
    let mut program = without_hidden(program);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, &name, &mut script);
    if shell != Shell::Fish {
        return script;
    }
    // The script finds no values for a flag before the command: parsing its words fails because
    // the value is missing. Without the flag it succeeds.
    let parse =
        format!("    argparse -s (__fish_{name}_global_optspecs) -- $cmd 2>/dev/null\n    or ");
    let parse_again = format!("{parse}begin\n    set -e cmd[-1]\n{parse}return\n    end\n    or ");
    let script = String::from_utf8_lossy(&script);
    script.replacen(&parse, &parse_again, 1).into_bytes()
}

/// Removes the hidden commands of a program, which completions would have.
fn without_hidden(program: Command) -> Command {
    let commands = || program.get_subcommands();
    if !commands().any(Command::is_hide_set) {
        return program;
    }
    Command::new(program.get_name().to_owned())
        .version(VERSION)
        .disable_help_subcommand(true)
        .args(program.get_arguments())
        .subcommands(commands().filter(|one| !one.is_hide_set()).cloned())
}

/// Returns the manual page of a program, or of one of its commands, in the format of troff.
fn manual_page(program: Command, command: Option<&str>) -> Result<Vec<u8>, Failure> {
    // Pages are compared with those of the repository, so they cannot have the commit.
    let mut program = program.version(env!("CARGO_PKG_VERSION"));
    program.build();
    let command = match command {
        None => program,
        Some(name) => {
            let mut commands = program.get_subcommands().filter(|sub| !sub.is_hide_set());
            let command = commands.find(|sub| sub.get_name() == name);
            let unknown = || {
                let name = shown(name);
                format!("unknown command {name}; see {} --help", program.get_name())
            };
            command.cloned().ok_or_else(|| Failure::usage(unknown()))?
        }
    };
    render(command).map_err(failed("cannot format the manual page"))
}

fn render(mut command: Command) -> io::Result<Vec<u8>> {
    // A synopsis with dozens of flags would say nothing.
    let usage = command.render_usage().to_string();
    command = command.override_usage(usage.trim_start_matches("Usage:").trim().to_owned());
    let notes = command.get_after_long_help().map(ToString::to_string);
    let has_commands = command.get_subcommands().any(|sub| !sub.is_hide_set());
    let man = Man::new(command)
        .source(concat!("Pilcrow ", env!("CARGO_PKG_VERSION")))
        .manual("Pilcrow");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    add_sections(&mut roff, &notes.unwrap_or_default());
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("distributor(1), gateway(1), flood(1)")]);
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// Adds the paragraphs that follow the flags in the help, in sections of a manual page.
fn add_sections(roff: &mut Roff, notes: &str) {
    let mut section = "";
    for paragraph in notes.split("\n\n") {
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            roff.control("SH", ["EXAMPLES"]);
            roff.control("nf", []);
            for line in examples.lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
            section = "EXAMPLES";
            continue;
        }
        let codes = paragraph.strip_prefix("Exit codes: ");
        let begins = if codes.is_some() {
            "EXIT STATUS"
        } else {
            "NOTES"
        };
        if section == begins {
            roff.control("PP", []);
        } else if !paragraph.is_empty() {
            roff.control("SH", [begins]);
            section = begins;
        }
        roff.text([roman(codes.unwrap_or(paragraph))]);
    }
}
