'use strict';
// The side panel: events as they happen, refusals and limits.

/** The text of each kind of event, to follow the name of its node, and its tone. */
const EVENTS = {
  joined: ['joined', 'ok'],
  changed: ['registered again with changes', ''],
  claimed: ['reconnected and kept its entry', 'ok'],
  left: ['left', 'bad'],
  superseded: ['moved to a new connection', ''],
  suspect: ['is silent with many others, kept as suspect', 'wait'],
  recovered: ['sent data again', 'ok'],
  rejected: ['sent a packet that was rejected', 'wait'],
  'wrong-protocol': ['speaks another protocol', 'wait'],
  limit: ['exceeded a limit', 'wait'],
  'warm-up': ['Warm-up began: the list may be incomplete', 'wait'],
  complete: ['The list is complete', 'ok'],
  restored: ['The list of the last run is restored', ''],
  reset: ['Some events were missed', 'wait'],
};

const ERRORS = {
  1: 'invalid parameters', 2: 'no such uri or method', 3: 'not a JSON object', 4: 'too large or too many',
  5: 'not allowed', 6: 'busy', 7: 'deadline passed',
};

function detailsOf(event, withPeer = true) {
  const details = [];
  // A reason such as `closed by the peer` names the cause.
  if (event.cause && !event.reason?.startsWith(event.cause)) details.push(event.cause + (event.reason ? ': ' + event.reason : ''));
  else if (event.reason) details.push(event.reason);
  if (event.errorcode !== undefined) {
    const words = ERRORS[event.errorcode];
    details.push('errorcode ' + event.errorcode + (words ? ': ' + words : ''));
  }
  if (event.restored !== undefined) details.push(counted(event.restored, 'node'));
  if (withPeer && event.peer && event.name) details.push(event.peer);
  if (['joined', 'left', 'changed'].includes(event.event)) details.push('rev\u00a0' + number(event.rev));
  return details;
}

function timeElement(unix_ms) {
  const date = new Date(unix_ms - clockSkew);
  return element('time', { datetime: new Date(unix_ms).toISOString(), title: date.toLocaleString(), text: timeOfDay(date) });
}

function eventItem(event) {
  const [text, tone] = EVENTS[event.event] ?? [event.event, ''];
  const what = element('div', { class: 'what' });
  const { name, id, peer } = event;
  if (name && id !== undefined) {
    what.append(button(name, () => show({ node: { id, name } }), { class: 'link name' }), ' ');
  } else if (name || peer) {
    what.append(element('strong', { class: 'name', text: name || peer }), ' ');
  }
  what.append(element('span', { class: tone && 'tone ' + tone, text }));
  const details = detailsOf(event);
  if (details.length) what.append(element('div', { class: 'soft details', text: details.join(' · ') }));
  return element('li', {}, timeElement(event.unix_ms), what);
}

const MAX_ITEMS = 200;

function setUpEvents() {
  const list = $('events');
  let isPaused = false, waiting = 0, isLoaded = false;
  /** Events that are not in the list yet. */
  let added = [];

  const matches = (event) =>
    (view.service === null || event.name === view.service)
    && (!view.search.trim() || [event.name, event.peer ?? '', event.event].join('\n').toLowerCase().includes(view.search.trim().toLowerCase()));

  function finish() {
    while (list.children.length > MAX_ITEMS) list.lastChild.remove();
    const isPart = view.service !== null || view.search.trim() !== '';
    $('no-events').hidden = list.children.length > 0;
    setText($('no-events'), !isLoaded ? 'Loading …' : isPart ? 'No event matches the filters.' : 'No events yet.');
    list.hidden = list.children.length === 0;
    setText($('events-of'), isPart ? 'Events that match the filters' : 'Newest first');
    setText($('pause'), isPaused ? 'Resume' + (waiting ? ' (' + number(waiting) + ' new)' : '') : 'Pause');
    setAttribute($('pause'), 'aria-pressed', isPaused);
  }
  const redraw = onceAFrame(() => {
    added = [];
    waiting = 0;
    list.replaceChildren(...events.filter(matches).slice(-MAX_ITEMS).reverse().map(eventItem));
    finish();
  });
  const prepend = onceAFrame(() => {
    if (!isPaused) {
      const top = list.scrollTop, height = list.scrollHeight;
      list.prepend(...added.slice(-MAX_ITEMS).reverse().map(eventItem));
      added = [];
      // The events in sight stay in place.
      if (top > 0) list.scrollTop = top + list.scrollHeight - height;
    }
    finish();
  });
  on('events', () => {
    isLoaded = true;
    redraw();
  });
  on('event', (event) => {
    if (!matches(event)) return;
    added.push(event);
    if (added.length > MAX_ITEMS) added.shift();
    if (isPaused) waiting++;
    prepend();
  });
  on('view', (changes) => {
    if (!('search' in changes || 'service' in changes)) return;
    isPaused = false;
    redraw();
  });
  $('pause').addEventListener('click', () => {
    isPaused = !isPaused;
    waiting = 0;
    prepend();
  });
}

const REFUSALS = {
  rejected_packets: ['Packets answered with an errorcode', ''],
  not_admitted: ['Connections not admitted', '--token-file, --allow-from'],
  wrong_protocol: ['Connections that speak another protocol', ''],
  http_refused: ['Malformed HTTP requests', ''],
  http_not_admitted: ['HTTP requests not admitted', '--token-file, --admin-token-file'],
};

const LIMITS = {
  connections: ['Connections at a time', '--max-connections'],
  file_descriptors: ['Open files', 'ulimit -n'],
  accept: ['Connections that could not be accepted', 'ulimit -n'],
  room: ['Registered nodes, or bytes of the list', '--max-entries, --max-list-bytes'],
  frame_bytes: ['Bytes of a frame', '--max-frame-bytes'],
  frame_timeout: ['Time to complete a frame', '--frame-timeout'],
  first_byte_timeout: ['Time to the first byte', '--first-byte-timeout'],
  unsent_bytes: ['Bytes queued for a connection', '--max-unsent-bytes'],
  write_timeout: ['Time without reading', '--write-timeout'],
  old_lists: ['Bytes of old lists held by slow readers', ''],
  http_connections: ['HTTP connections at a time', '--max-http-connections'],
  http_head_bytes: ['Bytes of an HTTP head', ''],
  http_body_bytes: ['Bytes of an HTTP body', ''],
  http_request_timeout: ['Time to complete an HTTP request', ''],
  http_response_timeout: ['Time to answer an HTTP request', ''],
  http_held_bytes: ['Bytes of pipelined HTTP requests', ''],
  http_unread_bytes: ['Bytes of an HTTP response not read', ''],
  http_stream_backlog_bytes: ['Bytes of events not read', ''],
  http_write_timeout: ['Time without reading HTTP', '--write-timeout'],
  http_streams: ['Event streams at a time', ''],
};

function setUpLimits() {
  const panel = $('panel-limits');
  const table = (title, first, names, key) => {
    const rows = Object.entries(names).map(([name, [label, flags]]) => {
      const count = element('td', { class: 'number' });
      const row = element('tr', {},
        element('th', { scope: 'row' }, label, element('div', { class: 'soft mono' },
          ...flags.split(', ').filter(Boolean).map((flag) => element('span', { class: 'flag', text: flag })))), count);
      return { name, row, count };
    });
    const body = element('tbody');
    panel.append(element('table', {},
      element('caption', { text: title }),
      element('thead', {}, element('tr', {}, element('th', { scope: 'col', text: first }), element('th', { scope: 'col', class: 'number', text: 'Since the start' }))),
      body));
    return () => {
      const counts = status[key];
      const order = [...rows].sort((a, b) => (counts[b.name] > 0) - (counts[a.name] > 0));
      for (const { name, row, count } of rows) {
        setText(count, number(counts[name] ?? 0));
        row.classList.toggle('zero', !counts[name]);
      }
      if (order.some(({ row }, place) => body.children[place] !== row)) body.replaceChildren(...order.map(({ row }) => row));
    };
  };
  const updates = [
    table('Refused', 'What was refused', REFUSALS, 'refused'),
    table('Limits', 'Limit, and its flag', LIMITS, 'limits'),
  ];
  on('status', () => {
    for (const update of updates) update();
    const recent = [...samples, status.history.now].reduce((sum, { refused, limits }) => sum + refused + limits, 0);
    const badge = $('limit-badge');
    badge.hidden = recent === 0;
    setText(badge, compact(recent));
    setAttribute(badge, 'title', number(recent) + ' in the last hour');
  });
}

function setUpTabs() {
  const tabs = { events: $('tab-events'), limits: $('tab-limits') };
  for (const [tab, own] of Object.entries(tabs)) {
    own.addEventListener('click', () => show({ tab }));
    own.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
      const other = tab === 'events' ? 'limits' : 'events';
      show({ tab: other });
      tabs[other].focus();
    });
  }
  on('view', () => {
    for (const [tab, own] of Object.entries(tabs)) {
      const isShown = tab === view.tab;
      setAttribute(own, 'aria-selected', isShown);
      own.tabIndex = isShown ? 0 : -1;
      $('panel-' + tab).hidden = !isShown;
    }
  });
}
