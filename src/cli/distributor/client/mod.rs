//! The commands that ask a running Distributor.

mod call;
mod http;
mod list;
mod show;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use std::{io, process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::cli::address::resolve;
use crate::cli::distributor::args::{
    Command, DrainArgs, HttpClientArgs, NodesArgs, WhyArgs, command_line,
};
use crate::cli::failure::Failure;
use crate::cli::print::{print, print_json};
use http::{Client, HTTP_BY_DEFAULT};

/// Does what a command says.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Nodes(args) => nodes(&args),
        Command::Watch(args) => watch(&args),
        Command::Why(args) => why(&args),
        Command::Drain(args) => drain(&args),
        Command::Check(args) => check(&args),
        Command::Call(args) => call::run(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "distributor", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}

fn nodes(args: &NodesArgs) -> Result<(), Failure> {
    let (name, url) = (args.name.as_deref(), args.url.as_deref());
    let nobody_is_at_http = || TcpStream::connect(HTTP_BY_DEFAULT).is_err();
    let addresses = match (&args.distributor, &args.at.http) {
        (Some(distributor), _) => Some(resolve("--distributor", distributor)?),
        (None, None) if nobody_is_at_http() => {
            Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9000))])
        }
        (None, _) => None,
    };
    let list = match addresses {
        Some(addresses) => list::ask(&addresses, args.at.token_file.as_deref(), name, url)?,
        None => Client::new(&args.at)?.get_json("/nodes", &[("name", name), ("url", url)])?,
    };
    if args.at.json {
        return print_json(&list);
    }
    print(&show::nodes(&list))
}

fn why(args: &WhyArgs) -> Result<(), Failure> {
    let limit = args.limit.to_string();
    let pairs = [
        ("name", args.name.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let why = Client::new(&args.at)?.get_json("/why", &pairs)?;
    if args.at.json {
        return print_json(&why);
    }
    print(&show::why(&why, args.name.as_deref()))
}

/// Goes on where it was when the Distributor, or the way to it, was gone for a while.
fn watch(args: &HttpClientArgs) -> Result<(), Failure> {
    let client = Client::new(args)?;
    end_when_nobody_reads()?;
    let mut last_id = None;
    loop {
        let told = client.follow(&mut last_id, |name, data| {
            print(&if args.json {
                format!("{data}\n")
            } else {
                show::event_line(name, data)
            })
        });
        match told {
            Ok(printed) => printed?,
            // It was never there, or does not let us in.
            Err(failure) if last_id.is_none() => return Err(failure),
            Err(_) => {}
        }
        thread::sleep(RECONNECT);
    }
}

const RECONNECT: Duration = Duration::from_secs(1);

/// Ends the program when the reader of its output is gone, as `head` soon is: also while nothing
/// happens that could be printed.
fn end_when_nobody_reads() -> Result<(), Failure> {
    let waiter = thread::Builder::new().name("reader".to_owned());
    let started = waiter.spawn(|| {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        // Asked for nothing, it returns when there is nothing to be had any more.
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        if fds.iter().any(|fd| !fd.revents().is_empty()) {
            process::exit(0);
        }
    });
    match started {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot start a thread: {error}"))),
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "what a JSON value does not have is null"
)]
fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let wait = args.wait.unwrap_or_default();
    let wait_ms = wait.as_millis().to_string();
    let pairs = [
        ("name", Some(args.name.as_str())),
        ("wait_ms", Some(wait_ms.as_str())),
    ];
    let drained = Client::new(&args.at)?.post_json("/drain", &pairs)?;
    if args.at.json {
        print_json(&drained)?;
    } else {
        print(&show::drained(&drained, &args.name))?;
    }
    let late = drained["late"].as_array().map_or(0, Vec::len);
    if args.wait.is_some() && late > 0 {
        let why = format!("{late} have not acknowledged within {wait:?}");
        return Err(Failure::failed(why));
    }
    Ok(())
}

fn check(args: &HttpClientArgs) -> Result<(), Failure> {
    let (is_ready, words) = Client::new(args)?.ready()?;
    if args.json {
        print_json(&serde_json::json!({"ready": is_ready, "state": words}))?;
    } else if is_ready {
        print(&format!("{words}\n"))?;
    }
    if is_ready {
        Ok(())
    } else {
        Err(Failure::failed(words))
    }
}
