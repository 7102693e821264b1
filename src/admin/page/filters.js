'use strict';
// The search, the filters and the order.

function setUpFilters() {
  const search = $('search'), service = $('service'), sort = $('sort');
  let timer = null;
  const apply = () => {
    clearTimeout(timer);
    timer = null;
    show({ search: search.value });
  };
  search.addEventListener('input', () => {
    clearTimeout(timer);
    // A long list is not searched at each key.
    timer = setTimeout(apply, fleet.nodes.length > 2000 ? 120 : 0);
  });
  search.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault();
      apply();
      moveTo(0);
    } else if (event.key === 'Escape' && search.value) {
      event.stopPropagation();
      search.value = '';
      apply();
    }
  });
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target.closest('input, textarea, select, dialog');
    if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  service.addEventListener('change', () => show({ service: service.value === '*' ? null : service.value.slice(1) }));
  // Its names are listed when they are wanted.
  for (const event of ['focus', 'pointerdown']) service.addEventListener(event, fillServices);

  const pressGrouping = segments($('groupings'), [['service', 'Services'], ['node', 'Nodes']], (by) => show({ by }));
  sort.replaceChildren(...COLUMNS.map((name) => element('option', { value: name, text: SORTS[name].label })));
  sort.addEventListener('change', () => show({ sort: sort.value, isDown: Boolean(SORTS[sort.value].down) }));
  $('direction').addEventListener('click', () => show({ isDown: !view.isDown }));
  $('clear').addEventListener('click', () => {
    show(NO_FILTERS());
    search.focus();
  });
  const states = makeChips($('states'), STATES, 'states'), sessions = makeChips($('sessions'), SESSIONS, 'sessions');

  on('found', (found) => {
    states(found.states);
    sessions(found.sessions);
    const isPart = found.found.length !== fleet.nodes.length;
    setText($('shown'), isPart ? number(found.found.length) + ' of ' + counted(fleet.nodes.length, 'node') : counted(fleet.nodes.length, 'node'));
    $('clear').hidden = !hasFilters();
  });
  on('view', (changes) => {
    // Read out when the filters change, not at each join.
    if (Object.keys(NO_FILTERS()).some((filter) => filter in changes)) setText($('spoken'), $('shown').textContent);
    // Text that is being typed is ahead of the view.
    if (timer === null && search.value !== view.search) search.value = view.search;
    fillServices();
    pressGrouping(view.by);
    sort.value = view.sort;
    setText($('direction'), view.isDown ? '↓' : '↑');
    setAttribute($('direction'), 'aria-label', view.isDown ? 'Descending' : 'Ascending');
  });
  on('nodes', () => {
    if (document.activeElement !== service) fillServices();
  });
}

let servicesShown = '';
function fillServices() {
  const names = new Set(fleet.nodes.map((node) => node.name));
  if (view.service !== null) names.add(view.service);
  const all = [...names].sort(naturally), shown = all.join('\n');
  const select = $('service');
  if (shown !== servicesShown || !select.options.length) {
    servicesShown = shown;
    select.replaceChildren(element('option', { value: '*', text: 'All services' }),
      ...all.map((name) => element('option', { value: '=' + name, text: nameOf(name) })));
  }
  select.value = view.service === null ? '*' : '=' + view.service;
  select.classList.toggle('active', view.service !== null);
}

/** Buttons that filter by a property, each with the number of nodes that it would show. */
function makeChips(group, choices, filter) {
  const chips = Object.entries(choices).map(([value, { label, text, tone }]) => {
    const count = element('span', { class: 'count' });
    const chip = button('', () => {
      const chosen = new Set(view[filter]);
      if (!chosen.delete(value)) chosen.add(value);
      show({ [filter]: chosen });
    }, { class: 'chip', title: text });
    chip.append(...(tone ? [element('span', { class: 'dot ' + tone, 'aria-hidden': 'true' })] : []), label + ' ', count);
    return { value, chip, count };
  });
  group.replaceChildren(...chips.map(({ chip }) => chip));
  return (counts) => {
    for (const { value, chip, count } of chips) {
      const isPressed = view[filter].has(value);
      setText(count, number(counts[value] ?? 0));
      setAttribute(chip, 'aria-pressed', isPressed);
      // A filter that finds nothing needs no room.
      chip.hidden = !counts[value] && !isPressed && value !== 'connected';
    }
  };
}
