//! A client, in a thread of its own, with a fixed number of requests in flight on each connection.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use mio::{Events, Interest, Poll, Token};

pub(crate) struct Client {
    pub(crate) request: String,
    /// A byte that occurs once in each response.
    pub(crate) mark: u8,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) depth: usize,
    /// Requests on all connections together.
    pub(crate) requests: usize,
}

impl Client {
    pub(crate) fn start(self, addr: SocketAddr) -> JoinHandle<()> {
        thread::spawn(move || self.run(addr))
    }

    fn run(&self, addr: SocketAddr) {
        let mut poll = Poll::new().unwrap();
        let mut streams: Vec<mio::net::TcpStream> = (0..self.connections)
            .map(|_| {
                let stream = TcpStream::connect(addr).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                mio::net::TcpStream::from_std(stream)
            })
            .collect();
        for (index, stream) in streams.iter_mut().enumerate() {
            poll.registry()
                .register(stream, Token(index), Interest::READABLE)
                .unwrap();
        }
        let each = self.requests / self.connections;
        let mut sent = vec![self.depth; self.connections];
        let mut answered = vec![0; self.connections];
        let many = self.request.repeat(self.depth);
        for stream in &mut streams {
            stream.write_all(many.as_bytes()).unwrap();
        }
        let mut events = Events::with_capacity(1024);
        let mut bytes = vec![0; 64 << 10];
        let mut done = 0;
        while done < self.connections {
            poll.poll(&mut events, None).unwrap();
            for event in &events {
                let Token(index) = event.token();
                let count = match streams[index].read(&mut bytes) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error}"),
                };
                assert!(count > 0, "the server has closed the connection");
                let marks = memchr::memchr_iter(self.mark, &bytes[..count]).count();
                answered[index] += marks;
                let more = marks.min(each - sent[index]);
                sent[index] += more;
                if more > 0 {
                    streams[index]
                        .write_all(&many.as_bytes()[..more * self.request.len()])
                        .unwrap();
                }
                if answered[index] == each {
                    done += 1;
                }
            }
        }
    }
}
