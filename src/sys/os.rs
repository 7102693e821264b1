//! The operating system: mio for readiness, socket2 for the options that mio lacks.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use slab::Slab;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::lookup::{Lookup, known, resolve};
use super::{Event, SocketId, System, TcpOptions, Waker};
use crate::host_port::HostPort;
use crate::time::Time;

pub(crate) struct OsSystem {
    poll: mio::Poll,
    events: mio::Events,
    sockets: Slab<Socket>,
    waker: Waker,
    started: Instant,
    random_keys: RandomState,
    random_drawn: u64,
    reserve: Option<File>,
}

enum Socket {
    /// A listener. If other processes hold its socket too, these options are set on each accepted
    /// connection, since some were established before the listener had them.
    Listener(TcpListener, Option<TcpOptions>),
    Stream(TcpStream),
}

/// Token of the waker. It is not one of the reactor: no slot has all bits set.
const WAKE: Token = Token(usize::MAX);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Maximum number of events per poll. Further ready sockets are reported in the next turn.
const EVENTS_PER_POLL: usize = 1024;

impl OsSystem {
    pub(crate) fn new() -> io::Result<OsSystem> {
        let poll = mio::Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        let mut system = OsSystem {
            poll,
            events: mio::Events::with_capacity(EVENTS_PER_POLL),
            sockets: Slab::new(),
            waker: Waker::new(move || waker.wake()),
            started: Instant::now(),
            random_keys: RandomState::new(),
            random_drawn: 0,
            reserve: None,
        };
        system.keep_reserve();
        Ok(system)
    }

    fn stream(&self, socket: SocketId) -> io::Result<&TcpStream> {
        match self.sockets.get(socket.0) {
            Some(Socket::Stream(stream)) => Ok(stream),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Adds a listening socket. `shared` are its options if other processes hold it too.
    fn insert_listener(
        &mut self,
        socket: RawSocket,
        shared: Option<TcpOptions>,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let mut listener = TcpListener::from_std(socket.into());
        let addr = listener.local_addr()?;
        let registry = self.poll.registry();
        registry.register(&mut listener, mio_token(token)?, Interest::READABLE)?;
        let id = self.sockets.insert(Socket::Listener(listener, shared));
        Ok((SocketId(id), addr))
    }
}

impl System for OsSystem {
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<bool> {
        self.poll.poll(&mut self.events, timeout)?;
        events.extend(self.events.iter().map(|event| match event.token() {
            WAKE => Event::Wake,
            Token(token) => Event::Socket {
                token: token as u64,
                readable: event.is_readable(),
                writable: event.is_writable(),
                closed: event.is_read_closed() || event.is_write_closed() || event.is_error(),
            },
        }));
        Ok(events.len() >= EVENTS_PER_POLL)
    }

    fn now(&mut self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn unix_time(&mut self) -> Duration {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    /// Computes a keyed hash of a counter. The key is from the operating system.
    fn random(&mut self) -> u64 {
        self.random_drawn = self.random_drawn.wrapping_add(1);
        self.random_keys.hash_one(self.random_drawn)
    }

    /// Looks up a name on a thread that ends with the lookup.
    fn look_up(&mut self, host_port: &HostPort) -> Lookup {
        let (found, lookup) = Lookup::begin();
        // The receiver may have been dropped, and the reactor be gone.
        if let Some(known) = known(host_port) {
            let _ = found.send(Ok(known));
            return lookup;
        }
        let (host_port, waker) = (host_port.clone(), self.waker.clone());
        let thread = thread::Builder::new().name("resolver".to_owned());
        // If it does not start, the sender is dropped, which ends the lookup.
        let _ = thread.spawn(move || {
            let _ = found.send(resolve(&host_port));
            let _ = waker.wake();
        });
        lookup
    }

    fn has_ipv4_loopback(&mut self) -> bool {
        std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).is_ok()
    }

    fn listen(
        &mut self,
        addr: SocketAddr,
        backlog: u32,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let socket = new_socket(addr)?;
        // A restart must not wait until the last run's connections have left TIME_WAIT.
        socket.set_reuse_address(true)?;
        set_options(&socket, tcp)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        self.insert_listener(socket, None, token)
    }

    fn listen_on(
        &mut self,
        socket: OwnedFd,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let socket = RawSocket::from(socket);
        if !is_tcp_listener(&socket) {
            let what = "not a listening TCP socket: pass one that `listen` was called on";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        socket.set_nonblocking(true)?;
        set_options(&socket, tcp)?;
        self.insert_listener(socket, Some(*tcp), token)
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<(SocketId, SocketAddr)> {
        let Some(Socket::Listener(listener, shared)) = self.sockets.get(listener.0) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let (stream, peer) = listener.accept()?;
        // On Linux, connections inherit the options of the listener without a further system call,
        // except for those from before this process.
        if let Some(tcp) = shared {
            set_options(&SockRef::from(&stream), tcp).map_err(|_| ErrorKind::ConnectionAborted)?;
        }
        let id = self.sockets.insert(Socket::Stream(stream));
        Ok((SocketId(id), peer))
    }

    fn watch(&mut self, socket: SocketId, token: u64) -> io::Result<()> {
        let Some(Socket::Stream(stream)) = self.sockets.get_mut(socket.0) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let registry = self.poll.registry();
        registry.register(stream, mio_token(token)?, BOTH)
    }

    fn connect(
        &mut self,
        addr: SocketAddr,
        source: Option<IpAddr>,
        tcp: &TcpOptions,
        token: u64,
    ) -> io::Result<SocketId> {
        let mut stream = match source {
            None => TcpStream::connect(addr)?,
            Some(source) => connect_from(source, addr)?,
        };
        set_options(&SockRef::from(&stream), tcp)?;
        let registry = self.poll.registry();
        registry.register(&mut stream, mio_token(token)?, BOTH)?;
        Ok(SocketId(self.sockets.insert(Socket::Stream(stream))))
    }

    fn is_connected(&mut self, socket: SocketId) -> io::Result<bool> {
        let stream = self.stream(socket)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        self.stream(socket)?.read(into)
    }

    fn write(&mut self, socket: SocketId, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut stream = self.stream(socket)?;
        match from {
            [one] => stream.write(one),
            many => stream.write_vectored(many),
        }
    }

    fn shutdown_write(&mut self, socket: SocketId) -> io::Result<()> {
        self.stream(socket)?.shutdown(Shutdown::Write)
    }

    fn close(&mut self, socket: SocketId) {
        // The kernel drops the registration with the last fd: deregistering is needed only if other
        // processes hold the socket.
        if let Some(Socket::Listener(mut listener, Some(_))) = self.sockets.try_remove(socket.0) {
            // Fails only if it is not registered.
            let _ = self.poll.registry().deregister(&mut listener);
        }
    }

    fn release_reserve(&mut self) {
        self.reserve = None;
    }

    fn keep_reserve(&mut self) {
        if self.reserve.is_none() {
            self.reserve = File::open("/dev/null").ok();
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

fn is_tcp_listener(socket: &RawSocket) -> bool {
    socket.r#type().is_ok_and(|kind| kind == Type::STREAM)
        && socket.is_listener().unwrap_or(false)
        && socket
            .local_addr()
            .is_ok_and(|addr| addr.is_ipv4() || addr.is_ipv6())
}

/// Connects from a given address, which mio cannot do.
fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    // Error of a connect in progress; std has no kind for it.
    const EINPROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };
    let socket = new_socket(addr)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&addr.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn new_socket(addr: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn mio_token(token: u64) -> io::Result<Token> {
    usize::try_from(token)
        .map(Token)
        .map_err(|_| io::Error::new(ErrorKind::Unsupported, "a reactor needs 64-bit addresses"))
}

fn set_options(socket: &RawSocket, tcp: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let bytes = usize::try_from(tcp.send_buffer_bytes).unwrap_or(usize::MAX);
    socket.set_send_buffer_size(bytes)?;
    let keepalive = TcpKeepalive::new()
        .with_time(tcp.keepalive_idle)
        .with_interval(tcp.keepalive_interval)
        .with_retries(tcp.keepalive_probes);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(tcp.user_timeout))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks an assumption of `accept`, which saves six system calls.
    #[test]
    #[cfg(target_os = "linux")]
    fn accepted_connections_inherit_the_listeners_options() {
        let mut system = OsSystem::new().unwrap();
        let tcp = TcpOptions::default();
        let any_port = "127.0.0.1:0".parse().unwrap();
        let (listener, addr) = system.listen(any_port, 16, &tcp, 1).unwrap();
        let _client = std::net::TcpStream::connect(addr).unwrap();
        let accepted = accept(&mut system, listener);
        assert_has_options(&system, accepted, &tcp);
    }

    #[cfg(target_os = "linux")]
    fn assert_has_options(system: &OsSystem, stream: SocketId, tcp: &TcpOptions) {
        let socket = SockRef::from(system.stream(stream).unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        // Linux includes its own overhead.
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * (128 << 10));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), tcp.keepalive_idle);
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            tcp.keepalive_interval
        );
        assert_eq!(
            socket.tcp_keepalive_retries().unwrap(),
            tcp.keepalive_probes
        );
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(tcp.user_timeout));
    }

    #[cfg(target_os = "linux")]
    fn accept(system: &mut OsSystem, listener: SocketId) -> SocketId {
        loop {
            match system.accept(listener) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                other => break other.unwrap().0,
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sets_options_of_connections_that_waited_at_an_inherited_listener() {
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = inherited.local_addr().unwrap();
        let _early = std::net::TcpStream::connect(addr).unwrap();
        let mut system = OsSystem::new().unwrap();
        let tcp = TcpOptions::default();
        let (listener, bound) = system.listen_on(inherited.into(), &tcp, 1).unwrap();
        assert_eq!(bound, addr);
        let _late = std::net::TcpStream::connect(addr).unwrap();
        for _ in 0..2 {
            let accepted = accept(&mut system, listener);
            assert_has_options(&system, accepted, &tcp);
        }
    }

    #[test]
    fn leaves_waiting_connections_to_other_holders_of_a_listener() {
        let others = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = others.local_addr().unwrap();
        let mut system = OsSystem::new().unwrap();
        let ours = others.try_clone().unwrap().into();
        let (listener, _) = system.listen_on(ours, &TcpOptions::default(), 1).unwrap();
        let early = std::net::TcpStream::connect(addr).unwrap();
        system.close(listener);
        let late = std::net::TcpStream::connect(addr).unwrap();
        // The kernel would otherwise keep reporting events of a socket that others hold.
        let mut events = Vec::new();
        system.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events, []);
        for client in [early, late] {
            let (_, peer) = others.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }

    #[test]
    fn rejects_sockets_that_are_not_tcp_listeners() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let mut system = OsSystem::new().unwrap();
        for other in [stream.into(), udp.into(), unix.into(), OwnedFd::from(file)] {
            let tried = system.listen_on(other, &TcpOptions::default(), 1);
            assert_eq!(tried.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn connects_from_the_requested_address() {
        let mut system = OsSystem::new().unwrap();
        let tcp = TcpOptions::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let source: IpAddr = "127.0.0.77".parse().unwrap();
        let connecting = system.connect(addr, Some(source), &tcp, 1).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source);
        while !system.is_connected(connecting).unwrap() {
            thread::yield_now();
        }

        let elsewhere = "192.0.2.1".parse().unwrap();
        let error = system.connect(addr, Some(elsewhere), &tcp, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn wakes_the_poll_when_a_lookup_ends() {
        let mut system = OsSystem::new().unwrap();
        let literal = system.look_up(&"127.0.0.1:7".parse().unwrap());
        assert_eq!(
            literal.take().unwrap().unwrap(),
            ["127.0.0.1:7".parse().unwrap()]
        );
        let nowhere = system.look_up(&"no-such-host.invalid:7".parse().unwrap());
        let mut events = Vec::new();
        while !events.contains(&Event::Wake) {
            system.poll(&mut events, None).unwrap();
        }
        assert!(nowhere.take().unwrap().is_err());
    }

    #[test]
    fn random_numbers_differ() {
        let mut system = OsSystem::new().unwrap();
        let mut drawn: Vec<u64> = (0..1000).map(|_| system.random()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1000);
    }
}
