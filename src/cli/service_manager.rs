//! Notifications for a service manager: the protocol of systemd's `sd_notify`.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::cli::failure::reason;

/// The service manager that started this program, if it accepts notifications.
#[derive(Clone)]
pub(crate) struct ServiceManager(Option<Arc<UnixDatagram>>);

impl ServiceManager {
    /// Returns the service manager in NOTIFY_SOCKET.
    pub(crate) fn from_env() -> ServiceManager {
        let path = env::var("NOTIFY_SOCKET").unwrap_or_default();
        if path.is_empty() {
            return ServiceManager(None);
        }
        let socket = connect(&path);
        if let Err(error) = &socket {
            warn!(path, error = %reason(error), "failed to connect to NOTIFY_SOCKET");
        }
        ServiceManager(socket.ok().map(Arc::new))
    }

    pub(crate) fn ready(&self) {
        self.notify("READY=1\nSTATUS=serving\n");
    }

    /// Announces that files are being reloaded, until [`ready`](ServiceManager::ready).
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    pub(crate) fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping\n");
    }

    fn notify(&self, lines: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(lines.as_bytes())
        {
            warn!(
                error = %reason(&error), notification = lines.trim_end(),
                "failed to notify the service manager"
            );
        }
    }
}

fn connect(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match path.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.connect_addr(&address)?;
        }
        _ => socket.connect(path)?,
    }
    // Maximum time that a stalled service manager delays the loop.
    socket.set_write_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// Notifications that the loop turns (`WatchdogSec=` of systemd). The service manager restarts a
/// stalled program.
pub(crate) struct Watchdog {
    service_manager: ServiceManager,
    period: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// Returns the watchdog in WATCHDOG_USEC and WATCHDOG_PID.
    pub(crate) fn from_env(service_manager: ServiceManager) -> Watchdog {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_for_this_process = env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(process::id().into());
        let timeout = number("WATCHDOG_USEC").filter(|timeout| is_for_this_process && *timeout > 0);
        Watchdog {
            service_manager,
            // Twice per timeout, as systemd advises.
            period: timeout.map(|timeout| Duration::from_micros(timeout) / 2),
            next: Instant::now(),
        }
    }

    /// Notifies the service manager if it is time, and returns how long the next turn may wait.
    pub(crate) fn turned(&mut self, status: impl FnOnce() -> String) -> Option<Duration> {
        let period = self.period?;
        let now = Instant::now();
        if now >= self.next {
            self.next = now + period;
            let lines = format!("WATCHDOG=1\nSTATUS={}\n", status());
            self.service_manager.notify(&lines);
        }
        Some(self.next - now)
    }
}
