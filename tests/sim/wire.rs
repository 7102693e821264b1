//! One end of a simulated connection, whose bytes are moved by hand.

use std::io::{self, ErrorKind};

use pilcrow::testing::sim::{Process, Socket};
use pilcrow_test_client::Frames;

/// A socket with the frames that it has received and the bytes that it has not sent yet.
pub struct Wire {
    pub socket: Socket,
    pub frames: Frames,
    pub out: Vec<u8>,
}

impl Wire {
    pub fn new(socket: Socket) -> Wire {
        Wire {
            socket,
            frames: Frames::default(),
            out: Vec::new(),
        }
    }

    /// Reads until nothing is left. Fails once the connection has ended.
    pub fn read(&mut self, process: &mut Process) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        while self.read_once(process, &mut bytes)? > 0 {}
        Ok(())
    }

    /// Reads at most as many bytes as fit into `buffer`, and returns their number. Fails once the
    /// connection has ended.
    pub fn read_once(&mut self, process: &mut Process, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match process.read(self.socket, buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.frames.push(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(0),
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Writes as much as the socket takes. Fails once the connection has ended.
    pub fn write(&mut self, process: &mut Process) -> io::Result<()> {
        while !self.out.is_empty() {
            match process.write(self.socket, &self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }
}
