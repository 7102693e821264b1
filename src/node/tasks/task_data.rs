//! The data of a task: the request that it serves, and its destination.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use super::super::correlation::Correlation;
use super::super::served::{ReplyTo, Request};
use super::super::template::Template;
use crate::protocol::TraceContext;
use crate::reactor::ConnId;
use crate::time::Time;

/// Shared by a task and its futures. Reused, so that requests allocate nothing for it.
#[derive(Debug, Default)]
pub(in crate::node) struct TaskData {
    /// Destination of the reply, until it is sent.
    pub(in crate::node) reply_to: RefCell<Option<ReplyTo>>,
    /// The connection of the caller.
    pub(in crate::node) caller: Option<ConnId>,
    pub(in crate::node) deadline: Option<Time>,
    /// The task is part of a request, and not of the background: a node waits for it before it
    /// stops.
    pub(in crate::node) is_awaited: bool,
    /// The task ends when its caller is gone.
    pub(in crate::node) ends_with_caller: Cell<bool>,
    /// All texts, one after the other.
    text: String,
    path: Range<usize>,
    request_id: Option<Range<usize>>,
    trace: Option<TraceContext<'static>>,
    params: Range<usize>,
    /// Places of the path parameters in the text, in the order of the route.
    path_params: Vec<Range<usize>>,
    /// The route that has matched the path.
    template: Option<Rc<Template>>,
}

impl TaskData {
    /// Copies a request.
    pub(in crate::node) fn set_request(
        &mut self,
        request: &Request<'_>,
        reply_to: ReplyTo,
        template: &Rc<Template>,
        path_params: impl Iterator<Item = Range<usize>>,
    ) {
        self.caller = Some(reply_to.conn);
        *self.reply_to.get_mut() = Some(reply_to);
        self.deadline = request.deadline;
        self.is_awaited = true;
        self.path = self.add(&request.route.path);
        self.set_correlation(request.correlation());
        self.params = self.add(request.raw_params.get());
        let start = self.path.start;
        let places = path_params.map(|place| start + place.start..start + place.end);
        self.path_params.extend(places);
        self.template = Some(Rc::clone(template));
    }

    pub(in crate::node) fn set_correlation(&mut self, correlation: Correlation<'_>) {
        self.request_id = correlation.request_id.map(|id| self.add(id));
        self.trace = correlation.trace.cloned().map(TraceContext::into_owned);
    }

    pub(in crate::node) fn correlation(&self) -> Correlation<'_> {
        Correlation {
            request_id: self.request_id(),
            trace: self.trace.as_ref(),
        }
    }

    fn add(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    fn part(&self, place: &Range<usize>) -> &str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    pub(in crate::node) fn method(&self) -> &str {
        self.template
            .as_ref()
            .map_or("", |template| &template.method)
    }

    pub(in crate::node) fn path(&self) -> &str {
        self.part(&self.path)
    }

    pub(in crate::node) fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(|place| self.part(place))
    }

    pub(in crate::node) fn params(&self) -> &str {
        self.part(&self.params)
    }

    pub(in crate::node) fn path_param(&self, name: &str) -> Option<&str> {
        let mut names = self.template.as_ref()?.names.iter();
        let place = names.position(|other| other == name)?;
        self.path_params.get(place).map(|place| self.part(place))
    }

    /// Forgets the request, but keeps the memory.
    fn clear(&mut self) {
        // All fields, so that a new one is not forgotten.
        let TaskData {
            reply_to,
            caller,
            deadline,
            is_awaited,
            ends_with_caller,
            text,
            path,
            request_id,
            trace,
            params,
            path_params,
            template,
        } = self;
        *reply_to.get_mut() = None;
        (*caller, *deadline, *request_id, *template) = (None, None, None, None);
        *trace = None;
        *is_awaited = false;
        ends_with_caller.set(false);
        text.clear();
        path_params.clear();
        (*path, *params) = (0..0, 0..0);
    }
}

/// Spare data of ended tasks.
#[derive(Debug, Default)]
pub(in crate::node) struct TaskDataPool(Vec<Rc<TaskData>>);

/// Maximum number of spare data: more tasks than this rarely end in one turn.
const MAX_SPARE: usize = 1024;
/// Maximum capacity of a spare text. Longer ones are rarely needed.
const MAX_TEXT_BYTES: usize = 4 << 10;

impl TaskDataPool {
    /// Returns data that `fill` has filled.
    pub(in crate::node) fn take(&mut self, fill: impl FnOnce(&mut TaskData)) -> Rc<TaskData> {
        let mut data = self.0.pop().unwrap_or_default();
        match Rc::get_mut(&mut data) {
            Some(unshared) => fill(unshared),
            // Only unshared data is kept.
            None => {
                let mut new = TaskData::default();
                fill(&mut new);
                return Rc::new(new);
            }
        }
        data
    }

    /// Keeps the data of an ended task, unless a future outlives it.
    pub(in crate::node) fn give(&mut self, mut data: Rc<TaskData>) {
        if self.0.len() < MAX_SPARE
            && data.text.capacity() <= MAX_TEXT_BYTES
            && let Some(unshared) = Rc::get_mut(&mut data)
        {
            unshared.clear();
            self.0.push(data);
        }
    }
}
