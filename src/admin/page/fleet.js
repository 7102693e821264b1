'use strict';
// Filters, groups and orders nodes. Touches no element.

const STATES = {
  connected: { label: 'connected', tone: 'ok', text: 'Connected, and has read all that it was sent.' },
  behind: { label: 'behind', tone: 'wait', text: 'Connected, and has not read all that it was sent.' },
  suspect: { label: 'suspect', tone: 'wait', text: 'Silent together with many others: kept in the list for now.' },
  absent: { label: 'absent', tone: 'bad', text: 'Known from the last run, and not reconnected yet.' },
  unlisted: { label: 'not listed', tone: 'soft', text: 'Connected, but not in the list that others receive.' },
};

const SESSIONS = {
  delta: { label: 'delta', text: 'Session that receives changes, and acknowledges them.' },
  list: { label: 'list', text: 'Session that receives whole lists, and acknowledges them.' },
  plain: { label: 'plain', text: 'Peer without a session: it receives whole lists, and does not acknowledge.' },
  unwatching: { label: 'unwatching', text: 'Session that receives no lists.' },
  none: { label: 'no connection', text: 'Not connected.' },
};

/** The worst last. */
const SEVERITY = { connected: 0, unlisted: 1, behind: 2, suspect: 3, absent: 4 };

const naturally = new Intl.Collator('en', { numeric: true, sensitivity: 'base' }).compare;

/** A session that has just begun may not have acknowledged anything yet. */
const NEW_MS = 20_000;

/** Adds to each node what is derived from it. */
function prepare(nodes, now) {
  for (const node of nodes) {
    node.status = node.state === 'connected' && !node.listed ? 'unlisted' : node.state;
    node.address = hostAndPort(node.host, node.port);
    node.sought = [node.name, node.address, node.peer ?? '', ...node.urls].join('\n').toLowerCase();
    node.watches = node.session === 'delta' || node.session === 'list';
    node.isNew = now - (node.joined_unix_ms ?? 0) < NEW_MS;
  }
  return nodes;
}

const isLate = (node, overdue) => node.watches && node.acked < overdue && !node.isNew;

/** Returns the nodes that the view shows, with counts of what each filter would show. */
function find(nodes, view) {
  const sought = view.search.trim().toLowerCase();
  const states = {}, sessions = {}, found = [];
  for (const node of nodes) {
    if (sought && !node.sought.includes(sought)) continue;
    if (view.service !== null && node.name !== view.service) continue;
    const inState = !view.states.size || view.states.has(node.status);
    const inSession = !view.sessions.size || view.sessions.has(node.session);
    if (inSession) states[node.status] = (states[node.status] ?? 0) + 1;
    if (inState) sessions[node.session] = (sessions[node.session] ?? 0) + 1;
    if (inState && inSession) found.push(node);
  }
  return { found, states, sessions };
}

/** Figures of the nodes with one name. */
function summary(name, nodes) {
  const group = {
    name, nodes, states: {}, sessions: {}, status: 'connected', pending: 0,
    acked: null, joined: null, joinedLast: null,
  };
  const urls = new Set();
  for (const node of nodes) {
    group.states[node.status] = (group.states[node.status] ?? 0) + 1;
    group.sessions[node.session] = (group.sessions[node.session] ?? 0) + 1;
    if (SEVERITY[node.status] > SEVERITY[group.status]) group.status = node.status;
    group.pending += node.pending_bytes;
    if (node.watches && (node.acked || !node.isNew)) group.acked = Math.min(group.acked ?? Infinity, node.acked);
    if (node.joined_unix_ms) {
      group.joined = Math.min(group.joined ?? Infinity, node.joined_unix_ms);
      group.joinedLast = Math.max(group.joinedLast ?? 0, node.joined_unix_ms);
    }
    for (const url of node.urls) if (urls.size < 200) urls.add(url);
  }
  group.urls = [...urls];
  return group;
}

function grouped(nodes) {
  const byName = new Map();
  for (const node of nodes) {
    const others = byName.get(node.name);
    if (others) others.push(node);
    else byName.set(node.name, [node]);
  }
  return [...byName].map(([name, own]) => summary(name, own));
}

/** The sort keys of a service and of a node. With `down`, the first click sorts descending. */
const SORTS = {
  name: { label: 'Service', service: (group) => group.name, node: (node) => node.name },
  count: { label: 'Instances', down: true, service: (group) => group.nodes.length, node: (node) => node.id },
  state: {
    label: 'State', down: true,
    service: (group) => SEVERITY[group.status] * 1e6 + group.nodes.length - (group.states.connected ?? 0),
    node: (node) => SEVERITY[node.status],
  },
  session: {
    label: 'Session',
    service: (group) => Object.keys(group.sessions).sort().join(), node: (node) => node.session,
  },
  acked: { label: 'Acknowledged', service: (group) => group.acked ?? -1, node: (node) => node.acked ?? -1 },
  pending: {
    label: 'Pending', down: true,
    service: (group) => group.pending, node: (node) => node.pending_bytes,
  },
  age: {
    label: 'Age',
    service: (group) => -(group.joinedLast ?? 0), node: (node) => -(node.joined_unix_ms ?? 0),
  },
  urls: { label: 'Urls', service: (group) => group.urls.join(), node: (node) => node.urls.join() },
};

function sorted(rows, value, isDown, fallback) {
  const keyed = rows.map((row) => [value(row), row]);
  const sign = isDown ? -1 : 1;
  const compare = typeof keyed[0]?.[0] === 'string' ? naturally : (a, b) => a - b;
  keyed.sort((a, b) => sign * compare(a[0], b[0]) || fallback(a[1], b[1]));
  return keyed.map(([, row]) => row);
}

const sortServices = (groups, sort, isDown) =>
  sorted(groups, SORTS[sort].service, isDown, (a, b) => naturally(a.name, b.name));

const sortNodes = (nodes, sort, isDown) =>
  sorted(nodes, SORTS[sort].node, isDown,
    (a, b) => naturally(a.name, b.name) || naturally(a.address, b.address) || a.id - b.id);
