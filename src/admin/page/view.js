'use strict';
// The view: filters, order and open drawer. The address bar keeps it.

const view = {
  search: '',
  /** Only nodes with this name. A name can be empty. */
  service: null,
  states: new Set(),
  sessions: new Set(),
  by: 'service',
  sort: 'name',
  isDown: false,
  open: new Set(),
  /** Of the charts; without one it depends on the age of the Distributor. */
  span: null,
  tab: 'events',
  /** The node in the drawer: its id and its name, since another run gives other ids. */
  node: null,
};

function readView() {
  const params = new URLSearchParams(location.search);
  const known = (name, choices, otherwise) =>
    choices.includes(params.get(name)) ? params.get(name) : otherwise;
  const set = (name, choices) =>
    new Set((params.get(name) ?? '').split(',').filter((value) => choices.includes(value)));
  const sort = params.get('sort') ?? '';
  const [, id, name] = /^(\d+)-(.*)$/s.exec(params.get('node') ?? '') ?? [];
  Object.assign(view, {
    search: params.get('search') ?? '',
    service: params.get('service'),
    states: set('state', Object.keys(STATES)),
    sessions: set('session', Object.keys(SESSIONS)),
    by: known('by', ['node'], 'service'),
    sort: Object.hasOwn(SORTS, sort.replace(/^-/, '')) ? sort.replace(/^-/, '') : 'name',
    isDown: sort.startsWith('-'),
    open: new Set(params.getAll('open')),
    span: known('span', ['minutes', 'hour'], null),
    tab: known('tab', ['limits'], 'events'),
    node: id ? { id: Number(id), name } : null,
  });
}

function addressOfView() {
  const params = new URLSearchParams();
  const set = (name, value) => {
    if (value) params.set(name, value);
  };
  set('search', view.search);
  if (view.service !== null) params.set('service', view.service);
  set('state', [...view.states].join());
  set('session', [...view.sessions].join());
  set('by', view.by === 'node' && 'node');
  if (view.sort !== 'name' || view.isDown) set('sort', (view.isDown ? '-' : '') + view.sort);
  for (const name of view.open) params.append('open', name);
  set('span', view.span);
  set('tab', view.tab === 'limits' && 'limits');
  set('node', view.node && view.node.id + '-' + view.node.name);
  const query = params.toString().replaceAll('%2C', ',').replaceAll('%2F', '/').replaceAll('%3A', ':');
  return location.pathname + (query && '?' + query);
}

/** Changes the view. An opened drawer is a step that the browser's back button undoes. */
function show(changes) {
  const opens = changes.node && !view.node;
  Object.assign(view, changes);
  const address = addressOfView();
  if (opens) history.pushState({ isDrawer: true }, '', address);
  else history.replaceState(history.state, '', address);
  emit('view', changes);
}

const hasFilters = () =>
  view.search.trim() !== '' || view.service !== null || view.states.size > 0 || view.sessions.size > 0;

const NO_FILTERS = () => ({ search: '', service: null, states: new Set(), sessions: new Set() });

let closesDrawer = false;
function closeDrawer() {
  closesDrawer = Boolean(history.state?.isDrawer);
  if (closesDrawer) history.back();
  else show({ node: null });
}

window.addEventListener('popstate', () => {
  if (closesDrawer) {
    closesDrawer = false;
    // The filters may have changed since it was opened.
    show({ node: null });
    return;
  }
  readView();
  emit('view', { ...view });
});
