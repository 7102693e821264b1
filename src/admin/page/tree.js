'use strict';
// The services and their nodes: a tree grid of which only the rows in sight exist as elements.

const COLUMNS = ['name', 'count', 'state', 'session', 'acked', 'pending', 'age', 'urls'];
/** Rows beyond both ends of what is in sight. */
const SPARE_ROWS = 6;
/** With so few nodes found, a search shows them without a click. */
const MAX_OPEN_BY_SEARCH = 100;

const tree = {
  /** All rows, of services and of nodes. */
  rows: [],
  /** Elements of rows, by key, and those of rows out of sight, which are used again. */
  elements: new Map(),
  spare: { service: [], node: [] },
  /** The key of the row that the keyboard is at. */
  current: null,
  /** Services that were closed although the search opens them. */
  closed: new Set(),
  head: null,
  body: null,
};

const keyOf = (row) => (row.node ? 'n' + row.node.id : 's' + row.group.name);

/** The rows that the view shows. */
function rowsOf(found) {
  if (view.by === 'node') {
    const nodes = sortNodes(found, view.sort, view.isDown);
    return nodes.map((node, place) => ({ node, level: 1, place, of: nodes.length }));
  }
  const groups = sortServices(grouped(found), view.sort, view.isDown);
  const opens = (view.search.trim() !== '' && found.length <= MAX_OPEN_BY_SEARCH) || (groups.length === 1 && view.service !== null);
  const rows = [];
  groups.forEach((group, place) => {
    const isOpen = view.open.has(group.name) || (opens && !tree.closed.has(group.name));
    rows.push({ group, level: 1, place, of: groups.length, isOpen });
    if (!isOpen) return;
    const nodes = sortNodes(group.nodes, view.sort, view.isDown);
    nodes.forEach((node, place) => rows.push({ node, level: 2, place, of: nodes.length }));
  });
  return rows;
}

const nameOf = (name) => name || '(no name)';

const isLateNow = (node) => isLate(node, status?.overdue_rev ?? 0);

/** The text of each column of a row, with a tone and a tooltip for some. */
function cellsOfNode(node, level) {
  const behind = fleet.revision - node.acked;
  const state = STATES[node.status];
  return {
    name: { text: level === 1 ? nameOf(node.name) : node.address, sub: level === 1 ? node.address : '' },
    count: { text: level === 1 ? String(node.id) : '' },
    state: { text: state.label, tone: state.tone, title: state.text },
    session: { text: SESSIONS[node.session].label, title: SESSIONS[node.session].text },
    acked: !node.watches ? { text: '–', title: 'It does not acknowledge.' } : !node.acked && node.isNew ? { text: 'not yet' } : {
      text: number(node.acked), sub: behind > 0 ? '−' + number(behind) : '',
      tone: isLateNow(node) ? 'wait' : '',
      title: behind > 0 ? counted(behind, 'revision') + ' before the newest, ' + number(fleet.revision) : '',
    },
    pending: { text: node.pending_bytes ? bytesInWords(node.pending_bytes) : '–', tone: node.pending_bytes ? 'wait' : '' },
    age: { text: ageOf(node.joined_unix_ms), joined: node.joined_unix_ms },
    urls: { text: node.urls.join('  ') || '–', title: node.urls.slice(0, 30).join('\n') },
  };
}

const ageOf = (joined) => inWords(joined ? Math.max(0, (serverTime() - joined) / 1000) : null);

function cellsOfService(group) {
  const states = Object.entries(group.states).sort(([a], [b]) => SEVERITY[b] - SEVERITY[a]);
  const parts = states.map(([state, count]) => number(count) + ' ' + STATES[state].label);
  const isMixed = states.length > 1;
  const sessions = Object.entries(group.sessions).sort(([, a], [, b]) => b - a);
  const [[session, most]] = sessions;
  const late = group.nodes.filter(isLateNow).length, behind = fleet.revision - group.acked;
  const newest = group.joinedLast, oldest = group.joined;
  const short = (joined) => inWords(Math.max(0, (serverTime() - joined) / 1000), true);
  return {
    name: { text: nameOf(group.name) },
    count: { text: number(group.nodes.length), title: counted(group.nodes.length, 'instance') },
    state: {
      text: isMixed ? parts.filter((part, place) => states[place][0] !== 'connected').join(', ') : STATES[group.status].label,
      tone: STATES[group.status].tone, title: parts.join(', '),
    },
    session: {
      text: SESSIONS[session].label,
      sub: sessions.length > 1 ? '+' + number(group.nodes.length - most) : '',
      title: sessions.map(([session, count]) => number(count) + ' ' + SESSIONS[session].label).join(', '),
    },
    acked: group.acked === null ? { text: '–' } : {
      text: number(group.acked), sub: late ? number(late) + ' late' : behind > 0 ? '−' + number(behind) : '', tone: late ? 'wait' : '',
      title: late ? counted(late, 'session') + ' did not acknowledge a revision that is ten seconds old' : 'The lowest of its sessions',
    },
    pending: { text: group.pending ? bytesInWords(group.pending) : '–', tone: group.pending ? 'wait' : '' },
    age: newest === null ? { text: '–' } : {
      text: short(newest) === short(oldest) ? short(newest) : short(newest) + ' – ' + short(oldest),
      title: 'Of the newest and of the oldest instance',
    },
    urls: { text: group.urls.join('  ') || '–', title: group.urls.slice(0, 30).join('\n') },
  };
}

function makeRow(kind) {
  const made = element('div', { role: 'row', class: 'row ' + kind, tabindex: -1 });
  made.cells = COLUMNS.map((column) => {
    const text = element('span', { class: 'text' }), sub = element('span', { class: 'sub' });
    const dot = column === 'state' ? element('span', { class: 'dot', 'aria-hidden': 'true' }) : null;
    const twist = column === 'name' && kind === 'service' ? element('span', { class: 'twist', 'aria-hidden': 'true' }) : null;
    const cell = element('div', { role: 'gridcell', class: 'cell ' + column }, twist, dot, text, sub);
    made.append(cell);
    return { cell, text, sub, dot };
  });
  if (kind === 'service') {
    made.cells[0].cell.append(button('Only', () => show({ service: made.row.group.name }), {
      class: 'only', tabindex: -1, title: 'Show this service only',
    }));
  }
  return made;
}

function fillRow(made, row, index) {
  const cells = row.group ? cellsOfService(row.group) : cellsOfNode(row.node, row.level);
  made.row = row;
  made.style.top = index * tree.rowHeight + 'px';
  setAttribute(made, 'aria-level', row.level);
  setAttribute(made, 'aria-rowindex', index + 2);
  setAttribute(made, 'aria-posinset', row.place + 1);
  setAttribute(made, 'aria-setsize', row.of);
  setAttribute(made, 'aria-expanded', row.group ? String(row.isOpen) : null);
  setAttribute(made, 'tabindex', keyOf(row) === tree.current ? 0 : -1);
  setAttribute(made, 'aria-selected', row.node ? String(row.node.id === view.node?.id) : null);
  made.classList.toggle('child', row.level === 2);
  made.classList.toggle('fresh', Boolean(row.node && fleet.fresh.has(row.node.id)));
  COLUMNS.forEach((column, place) => {
    const own = made.cells[place], { text, sub = '', tone = '', title } = cells[column];
    setText(own.text, text);
    setText(own.sub, sub);
    setAttribute(own.cell, 'title', title || (column === 'name' ? text : null));
    if (own.dot) own.dot.className = 'dot ' + tone;
    own.text.className = tone && !(own.dot && tone === 'ok') ? 'text tone ' + tone : 'text';
  });
}

/** Makes elements for the rows in sight, and drops the others. */
function drawRows(isDataNew) {
  const { rows, elements, body } = tree, scroller = $('tree');
  const first = Math.max(0, Math.floor(scroller.scrollTop / tree.rowHeight) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / tree.rowHeight) + SPARE_ROWS);
  const wanted = new Map();
  for (let index = first; index < last; index++) wanted.set(keyOf(rows[index]), index);
  // The row with the focus stays, or the keyboard would lose its place.
  const focused = document.activeElement?.closest?.('.row');
  if (focused?.row && !wanted.has(keyOf(focused.row))) {
    const index = rows.findIndex((row) => keyOf(row) === keyOf(focused.row));
    if (index >= 0) wanted.set(keyOf(focused.row), index);
  }
  for (const [key, made] of elements) {
    if (wanted.has(key)) continue;
    made.remove();
    elements.delete(key);
    tree.spare[made.row.group ? 'service' : 'node'].push(made);
  }
  let before = null;
  for (const [key, index] of [...wanted].sort((a, b) => a[1] - b[1])) {
    let made = elements.get(key);
    const isKnown = made !== undefined;
    if (!isKnown) {
      const kind = rows[index].group ? 'service' : 'node';
      made = tree.spare[kind].pop() ?? makeRow(kind);
      elements.set(key, made);
    }
    if (!isKnown || isDataNew) fillRow(made, rows[index], index);
    // In the order of the list, for screen readers.
    const next = before ? before.nextSibling : body.firstChild;
    if (next !== made) body.insertBefore(made, next);
    before = made;
  }
}

/** Draws everything anew: the data or the view has changed. */
function drawTree() {
  const { found, states, sessions } = find(fleet.nodes, view);
  tree.rows = rowsOf(found);
  const height = parseFloat(getComputedStyle($('tree')).getPropertyValue('--row'));
  tree.rowHeight = height;
  if (!tree.rows.some((row) => keyOf(row) === tree.current)) {
    tree.current = tree.rows.length ? keyOf(tree.rows[0]) : null;
  }
  tree.body.style.height = tree.rows.length * height + 'px';
  setAttribute($('tree'), 'aria-rowcount', tree.rows.length + 1);
  drawHead();
  drawRows(true);
  drawEmpty(found.length);
  emit('found', { found, states, sessions });
}

function drawHead() {
  $('tree').classList.toggle('by-node', view.by === 'node');
  for (const head of tree.head.children) {
    const { sort } = head.dataset, isSorted = sort === view.sort;
    setAttribute(head, 'aria-sort', isSorted ? (view.isDown ? 'descending' : 'ascending') : null);
    if (sort === 'name') setText(head.firstChild, view.by === 'node' ? 'Node' : 'Service');
    if (sort === 'count') setText(head.firstChild, view.by === 'node' ? 'Entry' : 'Instances');
  }
}

function sortBy(sort) {
  show({ sort, isDown: view.sort === sort ? !view.isDown : Boolean(SORTS[sort].down) });
}

/** Shows a text in place of rows. */
function drawEmpty(count) {
  const empty = $('empty');
  empty.hidden = count > 0 || !fleet.isLoaded;
  $('tree').hidden = !empty.hidden;
  if (empty.hidden) return;
  const kind = fleet.nodes.length ? 'filtered' : 'none' + (status?.listen[0] ?? '') + status?.needs_token;
  if (empty.dataset.kind === kind) return;
  empty.dataset.kind = kind;
  if (fleet.nodes.length) {
    setChildren(empty, element('p', { text: 'No node matches the filters.' }), button('Clear filters', () => show(NO_FILTERS())));
    return;
  }
  const line = registrationLine();
  setChildren(empty,
    element('h2', { text: 'No node is registered' }),
    element('p', { text: 'Register a first one from a terminal. It is listed as long as nc runs.' }),
    element('div', { class: 'command' }, element('code', { text: line }), copyButton(line, 'the command')),
    status?.needs_token ? element('p', { class: 'soft', text: 'Replace TOKEN by a token of --token-file.' }) : null,
  );
}

/** The address for nodes, as it is reached from this machine. */
function nodeAddress() {
  const own = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(status?.listen[0] ?? '');
  if (!own) return { host: location.hostname, port: '9000' };
  const host = own[1] ?? own[2];
  return { host: host === '0.0.0.0' || host === '::' ? location.hostname.replace(/^\[|\]$/g, '') : host, port: own[3] };
}

function registrationLine() {
  const { host, port } = nodeAddress();
  const packet = { uri: '/distributes', method: 'POST', key: 0, params: { port: 9010, name: 'goods', urls: ['GET/goods'] } };
  if (status?.needs_token) packet.session = { version: 1, watch: 'none', token: 'TOKEN' };
  return "printf '" + JSON.stringify(packet) + "¶' | nc " + host + ' ' + port;
}

function toggle(group, isOpen) {
  const open = new Set(view.open);
  if (isOpen) {
    open.add(group.name);
    tree.closed.delete(group.name);
  } else {
    open.delete(group.name);
    tree.closed.add(group.name);
  }
  show({ open });
}

function activate(row) {
  if (row.group) toggle(row.group, !row.isOpen);
  else show({ node: { id: row.node.id, name: row.node.name } });
}

/** Moves the keyboard to a row, and scrolls it into sight. */
function moveTo(index) {
  const row = tree.rows[Math.min(Math.max(index, 0), tree.rows.length - 1)];
  if (!row) return;
  const before = tree.elements.get(tree.current);
  if (before) before.tabIndex = -1;
  tree.current = keyOf(row);
  const scroller = $('tree'), top = tree.rows.indexOf(row) * tree.rowHeight;
  const room = scroller.clientHeight - tree.head.parentElement.offsetHeight;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + tree.rowHeight > scroller.scrollTop + room) scroller.scrollTop = top + tree.rowHeight - room;
  drawRows(false);
  const made = tree.elements.get(tree.current);
  made.tabIndex = 0;
  made.focus({ preventScroll: true });
}

function onKey(event) {
  const row = event.target.closest('.row')?.row;
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const index = tree.rows.findIndex((other) => keyOf(other) === keyOf(row));
  const page = Math.max(1, Math.floor($('tree').clientHeight / tree.rowHeight) - 2);
  const parent = () => {
    for (let above = index; above >= 0; above--) if (tree.rows[above].level < row.level) return above;
    return index;
  };
  const acts = {
    ArrowDown: () => moveTo(index + 1),
    ArrowUp: () => moveTo(index - 1),
    PageDown: () => moveTo(index + page),
    PageUp: () => moveTo(index - page),
    Home: () => moveTo(0),
    End: () => moveTo(tree.rows.length - 1),
    ArrowRight: () => (row.group ? (row.isOpen ? moveTo(index + 1) : toggle(row.group, true)) : null),
    ArrowLeft: () => (row.group ? toggle(row.group, false) : moveTo(parent())),
    Enter: () => activate(row),
    ' ': () => activate(row),
  };
  if (!Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
}

function setUpTree() {
  tree.head = element('div', { role: 'row', class: 'head', 'aria-rowindex': 1 },
    ...COLUMNS.map((sort) => element('div', { role: 'columnheader', class: 'cell ' + sort, data: { sort } },
      button(SORTS[sort].label, () => sortBy(sort)))));
  tree.body = element('div', { role: 'rowgroup', class: 'body' });
  const scroller = $('tree');
  setAttribute(scroller, 'role', 'treegrid');
  setAttribute(scroller, 'aria-label', 'Services and their nodes');
  setAttribute(scroller, 'aria-colcount', COLUMNS.length);
  scroller.append(element('div', { role: 'rowgroup', class: 'heads' }, tree.head), tree.body);
  scroller.addEventListener('scroll', onceAFrame(() => drawRows(false)), { passive: true });
  scroller.addEventListener('keydown', onKey);
  tree.body.addEventListener('click', (event) => {
    const made = event.target.closest('.row');
    if (!made || event.target.closest('button') || getSelection().type === 'Range') return;
    const index = tree.rows.findIndex((row) => keyOf(row) === keyOf(made.row));
    if (index < 0) return;
    moveTo(index);
    activate(tree.rows[index]);
  });
  const draw = onceAFrame(drawTree);
  for (const topic of ['nodes', 'status']) on(topic, draw);
  // At once, so that a key that follows finds the new rows.
  on('view', (changes) => {
    if ('search' in changes) tree.closed.clear();
    drawTree();
  });
  new ResizeObserver(draw).observe(scroller);
  setInterval(() => {
    if (!document.hidden) drawRows(true);
  }, 1000);
}
