'use strict';
// The state of the Distributor, fetched again and again. Topics: `nodes`, `status`, `event`,
// `events`, `connection`.

const fleet = {
  nodes: [],
  byId: new Map(),
  revision: 0,
  isLoaded: false,
  /** Ids of nodes that joined since the list before. */
  fresh: new Set(),
};
let status = null;
let samples = [];
/** The oldest first. */
let events = [];
let isConnected = false;
/** The time of the Distributor's last response, by the clock of this machine. */
let lastAnswer = null;
/** The Distributor's clock minus that of this machine. */
let clockSkew = 0;

const MAX_EVENTS = 1000;
const HOUR_MS = 3600_000;
const STATUS_EVERY_MS = 5000;
const RETRY_MS = 2000;
const TIMEOUT_MS = 8000;

const serverTime = () => Date.now() + clockSkew;

/** A path as an address without a user and a password, with which no request is allowed. */
const addressOf = (path) => location.origin + path;

async function getJson(path) {
  const answer = await fetch(addressOf(path), { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(path + ': ' + answer.status);
  return answer.json();
}

function setConnected(isNow) {
  if (isNow) lastAnswer = new Date();
  if (isConnected === isNow && !isNow) return;
  isConnected = isNow;
  emit('connection');
}

let statusTimer = null;
async function refreshStatus() {
  clearTimeout(statusTimer);
  try {
    const since = status?.history.last ?? 0;
    let fetched = await getJson('/status?since=' + since);
    const isAnotherRun = status !== null && fetched.epoch !== status.epoch;
    if (isAnotherRun) {
      fetched = await getJson('/status');
      samples = [];
      events = [];
      loadEvents();
    }
    const skew = fetched.history.now.unix_ms - Date.now();
    // The time of a request is no skew.
    clockSkew = Math.abs(skew) > 2000 ? skew : 0;
    const oldest = fetched.history.now.unix_ms - HOUR_MS - 60_000;
    // Another refresh may have fetched the same samples meanwhile.
    const last = samples.at(-1)?.unix_ms ?? 0;
    const news = fetched.history.samples.filter((sample) => sample.unix_ms > last);
    samples = samples.concat(news).filter((sample) => sample.unix_ms >= oldest);
    status = fetched;
    const wasConnected = isConnected;
    setConnected(true);
    emit('status');
    if (!wasConnected || isAnotherRun) refreshNodes();
  } catch {
    setConnected(false);
  }
  statusTimer = setTimeout(refreshStatus, isConnected ? STATUS_EVERY_MS : RETRY_MS);
}

let nodesTimer = null, isFetchingNodes = false, isFetchWanted = false;
/** The duration of the last fetch of the list. A long list is fetched less often. */
let fetchMs = 0;
async function refreshNodes() {
  clearTimeout(nodesTimer);
  nodesTimer = null;
  if (isFetchingNodes) {
    isFetchWanted = true;
    return;
  }
  isFetchingNodes = true;
  const began = performance.now();
  try {
    const list = await getJson('/nodes');
    const before = fleet.byId;
    fleet.nodes = prepare(list.nodes, serverTime());
    fleet.byId = new Map(fleet.nodes.map((node) => [node.id, node]));
    fleet.fresh = new Set();
    if (fleet.isLoaded) {
      for (const id of fleet.byId.keys()) if (!before.has(id)) fleet.fresh.add(id);
    }
    fleet.revision = list.rev;
    fleet.isLoaded = true;
    emit('nodes');
  } catch {
    refreshStatus();
  }
  fetchMs = performance.now() - began;
  isFetchingNodes = false;
  const again = isFetchWanted;
  isFetchWanted = false;
  if (again) refreshNodesSoon();
  else if (isConnected) nodesTimer = setTimeout(refreshNodes, pauseOf(4000));
}

/** A pause of `least`, longer for a list that takes long to fetch and in a tab that is hidden. */
function pauseOf(least) {
  return Math.min(Math.max(least, fetchMs * 20), 30_000) * (document.hidden ? 5 : 1);
}

let soonTimer = null;
function refreshNodesSoon() {
  soonTimer ??= setTimeout(() => {
    soonTimer = null;
    refreshNodes();
  }, pauseOf(200));
}

/** The last event of which the page knows: none is missed between two connections. */
let lastEventId = '';

async function loadEvents() {
  try {
    const why = await getJson('/why?limit=' + MAX_EVENTS);
    // The stream may have delivered newer events meanwhile.
    const last = why.events.at(-1)?.number ?? 0;
    events = why.events.concat(events.filter((event) => event.number > last));
    emit('events');
  } catch { /* `refreshStatus` shows it. */ }
}

function addEvent(event) {
  events.push(event);
  if (events.length > MAX_EVENTS * 1.5) events = events.slice(-MAX_EVENTS);
}

function follow() {
  const stream = new EventSource(addressOf('/events?last_event_id=' + encodeURIComponent(lastEventId)));
  for (const name of Object.keys(EVENTS)) {
    stream.addEventListener(name, (message) => {
      lastEventId = message.lastEventId;
      refreshNodesSoon();
      const event = { event: name, unix_ms: serverTime(), ...JSON.parse(message.data) };
      // It may have been loaded with others.
      if (event.number <= events.findLast(({ number }) => number)?.number) return;
      addEvent(event);
      emit('event', event);
    });
  }
  stream.addEventListener('open', refreshNodesSoon);
  stream.addEventListener('error', () => {
    refreshStatus();
    // A browser gives up where the answer was no stream.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  });
}

/** Begins to fetch. */
async function begin() {
  await Promise.all([refreshStatus(), refreshNodes()]);
  await loadEvents();
  lastEventId = String(events.at(-1)?.number ?? 0);
  follow();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    refreshStatus();
    refreshNodesSoon();
  });
}
