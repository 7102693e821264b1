//! The admin's side: its flags, and how it is started.

use std::path::{Path, PathBuf};

use crate::admin::{AdminApi, AdminToken, Config};
use crate::distributor::Distributor;
use crate::reactor::Net;

use crate::cli::address::HostPort;
use crate::cli::failure::Failure;
use crate::cli::lines::Lines;
use crate::cli::listen::{ListenAddress, Place, bind_all};
use crate::cli::text_file;

/// What can be asked over HTTP.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Admin API (HTTP)")]
pub(crate) struct HttpArgs {
    /// Where to serve a page with all nodes, /metrics, /events and more, again for more addresses;
    /// 127.0.0.1:9001 is where the subcommands look for it. As for --listen, addresses that others
    /// can reach need one of --token-file, --allow-from and --allow-anonymous
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(crate) http: Vec<HostPort>,

    /// Answer HTTP requests for this host name as well, again for more. Otherwise only those for
    /// localhost, an address, or a name in --http are: pages of others can't be let in by a name of
    /// theirs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    http_host: Vec<String>,

    /// Let the bearer of the token in this file change things over HTTP: drain nodes. Read again on
    /// SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// HTTP connections at a time, beside those of nodes
    #[arg(long, value_name = "N", default_value = "1024")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_http_connections: u16,
}

impl HttpArgs {
    /// Reads the token of the administrator.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let admin_token = self.admin_token_file.as_deref().map(read_admin_token);
        let named = self.http.iter().map(|place| place.host().to_owned());
        Ok(Config {
            hosts: self.http_host.iter().cloned().chain(named).collect(),
            admin_token: admin_token.transpose()?,
            max_connections: self.max_http_connections.into(),
            ..Config::default()
        })
    }
}

pub(crate) fn read_admin_token(file: &Path) -> Result<AdminToken, Failure> {
    let text = text_file::read("--admin-token-file", file, MAX_FILE_BYTES)?;
    text_file::warn_if_public(file);
    AdminToken::parse(&text)
        .map_err(|why| Failure::usage(format!("--admin-token-file {}: {why}", file.display())))
}

const MAX_FILE_BYTES: u64 = 64 << 10;

/// Serves HTTP on these addresses, if there are any.
pub(crate) fn start(
    config: Config,
    addresses: Vec<ListenAddress>,
    net: &mut Net,
    distributor: &mut Distributor,
    stdout: &Lines,
) -> Result<Option<AdminApi>, Failure> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let mut admin = AdminApi::new(config);
    bind_all(addresses, |place| {
        let bound = match place {
            Place::At(address) => admin.listen(net, distributor, address)?,
            Place::On(socket) => admin.listen_on(net, distributor, socket)?,
        };
        stdout.say(format!("http on http://{bound}/"));
        Ok(bound)
    })?;
    Ok(Some(admin))
}
