//! What a service manager is told, if there is one: `sd_notify` of systemd, as lines in a datagram.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Whom to tell. Nothing happens where nobody wants to know.
#[derive(Clone, Debug)]
pub(crate) struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
}

impl ServiceManager {
    /// The one that is named in NOTIFY_SOCKET.
    pub(crate) fn of_environment() -> ServiceManager {
        let path = env::var("NOTIFY_SOCKET").unwrap_or_default();
        if path.is_empty() {
            return ServiceManager { socket: None };
        }
        let socket = connect(&path);
        if let Err(error) = &socket {
            warn!(path, %error, "cannot tell the service manager of NOTIFY_SOCKET anything");
        }
        ServiceManager {
            socket: socket.ok().map(Arc::new),
        }
    }

    /// It serves.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving\n");
    }

    /// It reads its files again, until it is [`ready`](ServiceManager::ready).
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    /// It stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping\n");
    }

    fn tell(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            warn!(%error, "could not tell the service manager: {}", lines.trim_end());
        }
    }
}

fn connect(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match path.strip_prefix('@') {
        None => socket.connect(path)?,
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.connect_addr(&address)?;
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    // One that takes nothing holds up nobody for longer than this.
    socket.set_write_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// Tells the service manager that the loop turns, if it wants to know (WatchdogSec= of systemd). It
/// ends and restarts a program that does not say so in time.
#[derive(Debug)]
pub(crate) struct Watchdog {
    service_manager: ServiceManager,
    /// How often to say so.
    period: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    pub(crate) fn of_environment(service_manager: ServiceManager) -> Watchdog {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_meant = match env::var_os("WATCHDOG_PID") {
            Some(_) => number("WATCHDOG_PID") == Some(process::id().into()),
            None => true,
        };
        let timeout = number("WATCHDOG_USEC").filter(|timeout| is_meant && *timeout > 0);
        Watchdog {
            service_manager,
            // Twice as often as must be, as systemd advises.
            period: timeout.map(|timeout| Duration::from_micros(timeout) / 2),
            next: Instant::now(),
        }
    }

    /// Says so if it is time, with what `status` says beside it, and returns how long the next turn
    /// may wait.
    pub(crate) fn turned(&mut self, status: impl FnOnce() -> String) -> Option<Duration> {
        let period = self.period?;
        let now = Instant::now();
        if now >= self.next {
            self.next = now + period;
            let status = status();
            self.service_manager
                .tell(&format!("WATCHDOG=1\nSTATUS={status}\n"));
        }
        Some(self.next - now)
    }
}
