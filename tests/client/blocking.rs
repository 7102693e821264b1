//! A client on a blocking TCP stream.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Frames, frame, list_request, registration};

/// Maximum time of any step before a test fails. Generous: only a test that fails waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One connection to a Distributor. Panics on errors and after [`DEADLINE`].
pub struct Client {
    pub stream: TcpStream,
    /// The connection ended by a reset, not by a FIN.
    pub was_reset: bool,
    frames: Frames,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        Client::on(TcpStream::connect(addr).unwrap())
    }

    pub fn on(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            was_reset: false,
            frames: Frames::default(),
        }
    }

    /// Connects with a small receive buffer: what is not read soon fills the buffers of the sender.
    pub fn connect_narrow(addr: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&addr.into()).unwrap();
        Client::on(socket.into())
    }

    /// Connects from an address of this machine.
    pub fn connect_from(addr: SocketAddr, host: IpAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::new(host, 0).into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        Client::on(socket.into())
    }

    /// Ends the connection by a reset instead of a FIN.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// Sends bytes unchanged. Does not fail if the peer has closed: reading shows that.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !is_closed(&error) => panic!("sending failed: {error}"),
            _ => {}
        }
    }

    pub fn send(&mut self, packet: &Value) {
        self.send_raw(frame(packet));
    }

    pub fn post(&mut self, params: &Value) {
        self.send_raw(registration(0, params, &Value::Null));
    }

    pub fn register(&mut self, name: &str, port: u16) {
        let urls = [format!("GET/{name}")];
        self.post(&serde_json::json!({"port": port, "name": name, "urls": urls}));
    }

    /// The text of the next frame, or `None` if the connection was closed before.
    #[track_caller]
    pub fn next_text(&mut self) -> Option<String> {
        loop {
            if let Some(frame) = self.frames.next_frame() {
                return Some(String::from_utf8(frame).expect("frames are UTF-8"));
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.frames.push(&bytes[..count]),
                Err(error) if is_closed(&error) => {
                    self.was_reset = true;
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let unfinished = self.frames.unfinished().len();
                    panic!("no frame: {error}; {unfinished} bytes of one were received");
                }
            }
        }
    }

    /// The next frame.
    #[expect(
        clippy::should_implement_trait,
        reason = "it panics at the end of the connection"
    )]
    #[track_caller]
    pub fn next(&mut self) -> Value {
        let text = self.next_text().expect("the connection is open");
        serde_json::from_str(&text).expect("frames are JSON")
    }

    /// The names in the next frame, which must be a list.
    #[track_caller]
    pub fn next_list(&mut self) -> Vec<String> {
        let frame = self.next();
        assert_eq!(frame["uri"], "/distributes", "{frame}");
        assert_eq!(frame["method"], "GET", "{frame}");
        names(&frame)
    }

    /// Reads lists until one is as wanted. Returns how many were read.
    #[track_caller]
    pub fn wait_for_list(&mut self, what: &str, wanted: impl Fn(&[String]) -> bool) -> usize {
        let until = Instant::now() + DEADLINE;
        let mut lists = 0;
        loop {
            let list = self.next_list();
            lists += 1;
            if wanted(&list) {
                return lists;
            }
            assert!(
                Instant::now() < until,
                "no list with {what}; the last: {list:?}"
            );
        }
    }

    /// Requests the list. Returns the frames before the reply, and the reply.
    #[track_caller]
    pub fn request_list(&mut self) -> (Vec<Value>, Value) {
        self.send_raw(list_request(r#""query""#));
        let mut before = Vec::new();
        loop {
            let frame = self.next();
            if frame["key"] == "query" {
                return (before, frame);
            }
            before.push(frame);
        }
    }

    /// Reads up to the next packet with an errorcode. Returns the code.
    #[track_caller]
    pub fn next_errorcode(&mut self) -> u64 {
        loop {
            if let Some(code) = self.next()["errorcode"].as_u64() {
                return code;
            }
        }
    }

    /// Reads until the peer closes. Returns the frames before.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(text) = self.next_text() {
            frames.push(serde_json::from_str(&text).expect("frames are JSON"));
        }
        frames
    }
}

/// The names in a list, in its order.
pub fn names(list: &Value) -> Vec<String> {
    let entries = list["params"].as_array().expect("params is an array");
    let name = |entry: &Value| entry["name"].as_str().unwrap_or_default().to_owned();
    entries.iter().map(name).collect()
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}
