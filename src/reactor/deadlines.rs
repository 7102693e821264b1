//! Deadlines of a connection, and the actions when they pass.
//!
//! A deadline that moves with every frame does not move its timer: a timer that expires too early
//! is armed again.

use super::connection::{Close, CloseReason, Received, State};
use super::handler::Handler;
use super::ids::ConnId;
use super::net::{Due, Net, live};
use crate::time::Time;

impl Net {
    /// Arms the input timer, in place of an earlier one.
    pub(super) fn arm_input(&mut self, id: ConnId, deadline: Time) {
        if let Some(connection) = live(&mut self.connections, id) {
            let timer = self.timers.arm(deadline, Due::Input(id));
            if let Some(earlier) = connection.input_timer.replace(timer) {
                self.timers.disarm(earlier);
            }
        }
    }

    /// Handles the input timer: the state shows which deadline it was armed for, and whether that
    /// has passed.
    pub(super) fn input_due(&mut self, id: ConnId, handler: &mut dyn Handler) {
        let (now, limits) = (self.now, &self.limits);
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        connection.input_timer = None;
        match connection.state {
            State::Connecting => self.begin_close(id, CloseReason::ConnectTimeout, Close::Now),
            State::Lingering { .. } => self.finish_close(id),
            State::Open => {
                let Some(since) = connection.waiting_since else {
                    return;
                };
                let (timeout, why) = if connection.received == Received::Nothing {
                    (limits.first_byte_timeout, CloseReason::NoFirstByte)
                } else {
                    (limits.frame_timeout, CloseReason::FrameTimeout)
                };
                if connection.is_paused {
                    self.arm_input(id, now + timeout);
                } else if now < since + timeout {
                    self.arm_input(id, since + timeout);
                } else {
                    self.break_limit(id, why, handler);
                }
            }
            State::Closing(..) | State::Flushing { .. } | State::Closed => {}
        }
    }

    /// Handles the output timer: closes the connection if the peer has read nothing for too long.
    pub(super) fn output_due(&mut self, id: ConnId) {
        let (now, write_timeout) = (self.now, self.limits.write_timeout);
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        connection.output_timer = None;
        if !connection.backlogged {
            return;
        }
        let deadline = connection.write_progress_at + write_timeout;
        // A writable connection is written to later in this turn.
        if now < deadline || connection.writable {
            connection.output_timer = Some(self.timers.arm(deadline, Due::Output(id)));
            return;
        }
        self.counters.limits_broken += 1;
        self.begin_close(id, CloseReason::WriteTimeout, Close::Now);
    }

    /// Records that a flush left bytes.
    pub(super) fn set_backlogged(&mut self, id: ConnId) {
        let Some(connection) = live(&mut self.connections, id) else {
            return;
        };
        if !connection.backlogged {
            connection.backlogged = true;
            connection.write_progress_at = self.now;
        }
        let deadline = self.now + self.limits.write_timeout;
        connection
            .output_timer
            .get_or_insert_with(|| self.timers.arm(deadline, Due::Output(id)));
    }

    /// Reports a broken limit to the handler, which may send a reason, and closes the connection.
    pub(super) fn break_limit(&mut self, id: ConnId, why: CloseReason, handler: &mut dyn Handler) {
        self.counters.limits_broken += 1;
        self.owner = self.owner_of(id);
        handler.on_limit(self, id, why);
        self.begin_close(id, why, Close::AfterFlush);
    }
}
