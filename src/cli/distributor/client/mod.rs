//! The commands for a running Distributor.

mod call;
mod events;
mod http;
mod list;
mod show;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{process, thread};

use humantime::format_duration;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::json;

use crate::cli::address::resolve;
use crate::cli::distributor::args::{
    Command, DrainArgs, HttpClientArgs, NodesArgs, WhyArgs, command_line,
};
use crate::cli::failure::{Failure, failed};
use crate::cli::print::print;
use crate::cli::terminal::Terminal;
use crate::cli::value::shown;
use http::{Client, DRAIN, default_address};
use show::print_value;

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Nodes(args) => nodes(&args),
        Command::Watch(args) => watch(&args),
        Command::Why(args) => why(&args),
        Command::Drain(args) => drain(&args),
        Command::Check(args) => check(&args),
        Command::Call(args) => call::run(&args),
        Command::Generate(generate) => generate.run(command_line()),
    }
}

fn nodes(args: &NodesArgs) -> Result<(), Failure> {
    let (name, url) = (args.name.as_deref(), args.url.as_deref());
    let addresses = match (&args.distributor, &args.at.http) {
        (Some(distributor), _) => Some(resolve("--distributor", distributor)?),
        (None, None) if default_address().is_none() => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
            // A closed standard error must not change the exit code.
            let _ = writeln!(
                io::stderr(),
                "distributor: nothing listens on port 9001, reading the list at {address} as a node"
            );
            Some(vec![address])
        }
        (None, _) => None,
    };
    let list = match addresses {
        Some(addresses) => {
            let nodes = list::read(&addresses, args.at.token_file.as_deref(), list::DEADLINE)?;
            list::to_json(&nodes, name, url)
        }
        None => Client::new(&args.at)?.json("GET", "/nodes", &[("name", name), ("url", url)])?,
    };
    let nothing = show::nothing_found(&list, name, url);
    if args.at.json || nothing.is_none() {
        let terminal = Terminal::of_stdout();
        print_value(&list, args.at.json, |list| show::nodes(list, terminal))?;
    }
    nothing.map_or(Ok(()), |why| Err(Failure::failed(why)))
}

fn why(args: &WhyArgs) -> Result<(), Failure> {
    let (name, limit) = (args.name.as_deref(), args.limit.to_string());
    let pairs = [("name", name), ("limit", Some(&*limit))];
    let why = Client::new(&args.at)?.json("GET", "/why", &pairs)?;
    print_value(&why, args.at.json, |why| {
        events::why(why, name, Terminal::of_stdout())
    })
}

const RECONNECT: Duration = Duration::from_secs(1);

/// Prints events. Reconnects and resumes when the connection is lost.
fn watch(args: &HttpClientArgs) -> Result<(), Failure> {
    let client = Client::new(args)?;
    exit_when_output_closes().map_err(failed("cannot start a thread"))?;
    let mut events = Some(client.events(None)?);
    let mut last_id = None;
    let terminal = Terminal::of_stdout();
    loop {
        for event in events.into_iter().flatten() {
            if args.json {
                print(&format!("{}\n", event.data))?;
            } else {
                print(&events::stream_line(&event.name, &event.data, terminal))?;
            }
            last_id = Some(event.id);
        }
        thread::sleep(RECONNECT);
        events = client.events(last_id.as_deref()).ok();
    }
}

/// Exits when the reader of standard output closes it, as `head` does. This works even if there is
/// nothing to print.
fn exit_when_output_closes() -> io::Result<()> {
    let poll_output = || {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        // Since no events are requested, it returns only for an error or a hang-up.
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        if fds.iter().any(|fd| !fd.revents().is_empty()) {
            process::exit(0);
        }
    };
    let thread = thread::Builder::new().name("output".to_owned());
    thread.spawn(poll_output).map(drop)
}

fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let wait = args.wait.unwrap_or_default();
    let wait_ms = wait.as_millis().to_string();
    let pairs = [("name", Some(&*args.name)), ("wait_ms", Some(&*wait_ms))];
    let drained = Client::new(&args.at)?.json("POST", DRAIN, &pairs)?;
    print_value(&drained, args.at.json, |drained| {
        show::drained(drained, &args.name, args.wait.is_some())
    })?;
    let late = show::array(&drained, "late").count();
    if args.wait.is_some() && late > 0 {
        return Err(Failure::failed(format!(
            "{} not acknowledged within {}; see distributor why {}",
            show::count(&late.into(), "session has", "sessions have"),
            format_duration(wait),
            shown(&args.name)
        )));
    }
    Ok(())
}

fn check(args: &HttpClientArgs) -> Result<(), Failure> {
    let (is_ready, state) = Client::new(args)?.ready()?;
    if args.json || is_ready {
        let value = json!({"ready": is_ready, "state": state});
        print_value(&value, args.json, |_| format!("{state}\n"))?;
    }
    if is_ready {
        Ok(())
    } else {
        Err(Failure::failed(state))
    }
}
