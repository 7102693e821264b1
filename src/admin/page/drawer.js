'use strict';
// The drawer: all facts of one node, and its history.

const drawer = {
  /** The node as it was last seen. */
  node: null,
  history: null,
  hasMore: false,
  isLoading: false,
  showsAllUrls: false,
  /** The element that gets the focus back. */
  opener: null,
};

const MAX_URLS_SHOWN = 50;
const HISTORY_LIMIT = 1000;

function fact(label, value, { copy = null, tone = '', title = null } = {}) {
  return element('div', {},
    element('dt', { text: label }),
    element('dd', { title },
      value instanceof Node ? value : element('span', { class: 'value' + (tone && ' tone ' + tone), text: value }),
      copy === null ? null : copyButton(copy, label.toLowerCase())));
}

/** The entries that a node receives, in words. */
function receivedBy({ session, subscription }) {
  if (session === 'unwatching' || session === 'none') return 'no lists';
  if (!subscription) return 'all entries';
  const { names = [], urls = [], prefixes = [] } = subscription;
  const all = [...names, ...urls, ...prefixes.map((prefix) => prefix + '…')];
  return all.length ? all.join(', ') : 'nothing';
}

function factsOf(node) {
  const behind = fleet.revision - (node.acked ?? 0);
  const acked = !node.watches ? 'does not acknowledge' : !node.acked && node.isNew ? 'nothing yet'
    : 'revision ' + number(node.acked) + (behind > 0 ? ', ' + counted(behind, 'revision') + ' before the newest' : ', the newest');
  const joined = node.joined_unix_ms && new Date(node.joined_unix_ms - clockSkew);
  return element('dl', { class: 'node-facts' },
    fact('Address', node.address, { copy: node.address }),
    fact('Peer', node.peer ?? 'no connection', node.peer ? { copy: node.peer, title: 'The address that its connection comes from' } : {}),
    fact('Entry', String(node.id), { copy: String(node.id), title: 'The id of its entry in the list' }),
    fact('Session', SESSIONS[node.session].label, { title: SESSIONS[node.session].text }),
    fact('Receives', receivedBy(node)),
    fact('Listed', node.listed ? 'yes' : 'no', { tone: node.listed ? '' : 'wait' }),
    fact('Sent', node.sent === null ? '–' : 'revision ' + number(node.sent)),
    fact('Acknowledged', acked, { tone: isLateNow(node) ? 'wait' : '' }),
    fact('Pending', node.pending_bytes ? bytesInWords(node.pending_bytes) : 'nothing', {
      tone: node.pending_bytes ? 'wait' : '', title: number(node.pending_bytes) + ' bytes are queued for it',
    }),
    fact('Joined', joined ? moment(joined) + ', ' + ageOf(node.joined_unix_ms) + ' ago' : '–'));
}

function urlsOf(node) {
  const count = node.urls.length;
  const urls = drawer.showsAllUrls ? node.urls : node.urls.slice(0, MAX_URLS_SHOWN);
  return element('section', {},
    element('div', { class: 'section-head' }, element('h3', { text: 'Urls' }), element('span', { class: 'soft', text: number(count) }),
      count ? copyButton(node.urls.join('\n'), 'all urls') : null),
    count ? element('ul', { class: 'urls' }, ...urls.map((url) => element('li', { text: url }))) : element('p', { class: 'soft', text: 'It serves no urls.' }),
    urls.length < count ? button('Show all ' + number(count), () => {
      drawer.showsAllUrls = true;
      drawDrawer();
    }, { class: 'link' }) : null);
}

function pushWords(push) {
  if (push === null) return 'Not pushed yet.';
  const words = ['Sent to ' + counted(push.told, 'peer') + ' in revision ' + number(push.rev)];
  if (push.of) {
    const after = push.last_ack_after_ms;
    const time = after === undefined ? '' : ', the last after ' + (after < 1000 ? after.toFixed(1) + '\u00a0ms' : (after / 1000).toFixed(1) + '\u00a0s');
    words.push(number(push.acked) + ' of ' + counted(push.of, 'session') + ' acknowledged' + time);
  }
  if (push.blind) words.push(counted(push.blind, 'plain peer does', 'plain peers do') + ' not acknowledge');
  if (push.backlogged) words.push(counted(push.backlogged, 'backlogged peer') + ' received it later' + namesInBrackets(push.backlogged_names));
  if (push.late) words.push(number(push.late) + ' not acknowledged yet' + namesInBrackets(push.late_names));
  return words.join('; ') + '.';
}

const namesInBrackets = (names) => (names.length ? ' (' + names.map(nameOf).join(', ') + ')' : '');

function historyItem(event) {
  const [text, tone] = EVENTS[event.event] ?? [event.event, ''];
  const details = detailsOf(event);
  return element('li', {}, timeElement(event.unix_ms),
    element('div', { class: 'what' },
      element('span', { class: tone && 'tone ' + tone, text }),
      details.length ? element('div', { class: 'soft details', text: details.join(' · ') }) : null,
      event.push === undefined ? null : element('div', { class: 'soft details', text: pushWords(event.push) })));
}

function historyOf({ id, name }) {
  const section = element('section', {},
    element('div', { class: 'section-head' }, element('h3', { text: 'History' }), copyButton('distributor why -- ' + shellWord(name), 'the command that shows it')));
  if (drawer.history === null) {
    section.append(element('p', { class: 'soft', text: drawer.isLoading ? 'Loading …' : 'It cannot be loaded now.' }));
    return section;
  }
  const own = drawer.history.filter((event) => event.id === id || event.id === undefined);
  const others = drawer.history.length - own.length;
  section.append(own.length
    ? element('ol', { class: 'history' }, ...own.slice(-200).reverse().map(historyItem))
    : element('p', { class: 'soft', text: 'No event of it is kept any more.' }));
  if (drawer.hasMore) section.append(element('p', { class: 'soft', text: 'Older events are not shown.' }));
  if (others) section.append(element('p', { class: 'soft', text: counted(others, 'event') + ' of other instances of ' + nameOf(name) + (others === 1 ? ' is' : ' are') + ' not shown.' }));
  return section;
}

const shellWord = (text) => (/^[\w./:@-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");

function drainSection(node, isGone) {
  if (!status?.can_drain || isGone) return null;
  const instances = fleet.nodes.filter(({ name }) => name === node.name).length;
  const section = element('section', {}, element('div', { class: 'section-head' }, element('h3', { text: 'Drain' })));
  if (!adminToken) {
    section.append(element('p', { class: 'soft', text: 'Taking it out of the list needs the admin token.' }), button('Enter the admin token', askForToken));
    return section;
  }
  section.append(element('div', { class: 'buttons' },
    button('Drain this instance', () => askToDrain(nameOf(node.name) + ' at ' + node.address, '?id=' + node.id), { class: 'danger' }),
    instances > 1 ? button('Drain all ' + number(instances), () =>
      askToDrain('all ' + number(instances) + ' instances of ' + nameOf(node.name), '?name=' + encodeURIComponent(node.name)), { class: 'danger' }) : null));
  return section;
}

/** Draws the drawer anew, and keeps the focus and the place in it. */
function drawDrawer() {
  const aside = $('drawer');
  if (!view.node) return;
  const { id, name } = view.node;
  const found = fleet.byId.get(id);
  const isGone = fleet.isLoaded && found?.name !== name;
  if (found && !isGone) drawer.node = found;
  const node = drawer.node;
  const labels = [...aside.querySelectorAll('button')];
  const focused = labels.indexOf(document.activeElement), focusedLabel = document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent;
  const { scrollTop } = aside;
  const badge = isGone ? { label: 'left', tone: 'bad' } : node ? STATES[node.status] : null;
  aside.replaceChildren(
    element('div', { class: 'drawer-head' },
      element('div', {},
        element('h2', { id: 'drawer-name', text: nameOf(name) }),
        element('div', { class: 'soft' }, badge ? element('span', { class: 'pill ' + badge.tone, text: badge.label }) : null, node ? ' ' + node.address : '')),
      element('div', { class: 'buttons' },
        copyButton(addressOf(addressOfView()), 'a link to this view', 'Copy link'),
        button('Close', closeDrawer, { 'aria-label': 'Close details', 'aria-keyshortcuts': 'Escape' }))),
    isGone ? element('p', { class: 'note', text: node ? 'It is not registered any more. This is what was known of it.' : 'It is not registered any more.' })
      : node && node.status !== 'connected' ? element('p', { class: 'note', text: STATES[node.status].text }) : '',
    ...(node ? [factsOf(node), urlsOf(node)] : []),
    (node && drainSection(node, isGone)) ?? '',
    historyOf(view.node));
  aside.scrollTop = scrollTop;
  if (focused >= 0) {
    const now = [...aside.querySelectorAll('button')];
    const same = now.find((one) => (one.getAttribute('aria-label') ?? one.textContent) === focusedLabel);
    (same ?? now[0]).focus({ preventScroll: true });
  }
}

let historyNumber = 0;
async function loadHistory() {
  const { node } = view;
  if (!node) return;
  const own = ++historyNumber;
  drawer.isLoading = true;
  try {
    const why = await getJson('/why?limit=' + HISTORY_LIMIT + '&name=' + encodeURIComponent(node.name));
    // Another node was opened meanwhile.
    if (own !== historyNumber) return;
    drawer.history = why.events;
    drawer.hasMore = why.more;
  } catch { /* The history that was loaded before stays. */ }
  if (own !== historyNumber) return;
  drawer.isLoading = false;
  drawDrawer();
}

let drawnNode = null;
function followView() {
  const aside = $('drawer');
  const wanted = view.node && view.node.id + '-' + view.node.name;
  if (wanted === drawnNode) return;
  const isOpening = drawnNode === null, isClosing = wanted === null;
  drawnNode = wanted;
  if (isClosing) {
    aside.hidden = true;
    historyNumber++;
    setCovered();
    // The row may have been drawn anew since.
    if (drawer.opener?.isConnected) drawer.opener.focus({ preventScroll: true });
    else tree.elements.get(tree.current)?.focus({ preventScroll: true });
    return;
  }
  Object.assign(drawer, { node: null, history: null, hasMore: false, isLoading: true, showsAllUrls: false });
  if (isOpening) drawer.opener = document.activeElement;
  aside.hidden = false;
  setCovered();
  drawDrawer();
  aside.scrollTop = 0;
  aside.querySelector('[aria-label="Close details"]').focus({ preventScroll: true });
  loadHistory();
}

/** On a small screen the drawer covers all of it: then nothing else has the focus. */
function setCovered() {
  const isCovered = Boolean(view.node) && matchMedia('(max-width: 699px)').matches;
  document.body.classList.toggle('has-drawer', Boolean(view.node));
  for (const part of [$('main'), document.querySelector('header'), document.querySelector('footer')]) part.inert = isCovered;
  setAttribute($('drawer'), 'aria-modal', isCovered ? 'true' : null);
}

function setUpDrawer() {
  on('view', followView);
  const draw = onceAFrame(() => {
    // Drawing anew would drop a selection.
    const { anchorNode, type } = getSelection();
    if (type === 'Range' && $('drawer').contains(anchorNode)) return;
    drawDrawer();
  });
  for (const topic of ['nodes', 'status', 'admin']) on(topic, draw);
  // They may include events that are newer than the history, and are not announced one by one.
  on('events', loadHistory);
  let timer = null;
  on('event', (event) => {
    if (!view.node || event.name !== view.node.name) return;
    timer ??= setTimeout(() => {
      timer = null;
      loadHistory();
    }, 500);
  });
  window.addEventListener('resize', setCovered);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && view.node && !document.querySelector('dialog[open]')) closeDrawer();
  });
}
