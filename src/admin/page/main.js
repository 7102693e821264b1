'use strict';
// The head of the page, and the start.

function drawIdentity() {
  const { host, port } = nodeAddress();
  const address = hostAndPort(host, port);
  setText($('address'), status ? address : '');
  document.title = (isConnected ? '' : 'not connected – ') + (status ? address : location.host) + ' – Distributor';
  if (!status) return;
  const others = status.listen.slice(1).join(', ');
  const facts = [
    ['Version', status.version],
    ['Up', inWords(status.uptime_seconds + secondsSinceAnswer())],
    ['Epoch', status.epoch],
    ['Revision', number(Math.max(fleet.revision, status.rev))],
    ...(others ? [['Also at', others]] : []),
  ];
  const list = $('identity');
  if (list.children.length !== facts.length) {
    list.replaceChildren(...facts.map(([name]) => element('div', {}, element('dt', { text: name }), element('dd'))));
  }
  facts.forEach(([, value], place) => setText(list.children[place].lastChild, value));
}

const secondsSinceAnswer = () => (isConnected && lastAnswer ? (Date.now() - lastAnswer) / 1000 : 0);

function drawState() {
  const [tone, text] = !isConnected && lastAnswer ? ['bad', 'connection lost, as of ' + timeOfDay(lastAnswer)]
    : !isConnected ? ['wait', 'connecting']
      : status.complete ? ['ok', 'live'] : ['wait', 'warming up: the list may be incomplete'];
  $('state').className = 'pill ' + tone;
  setText($('state'), text);
  document.body.classList.toggle('stale', !isConnected && lastAnswer !== null);
}

const THEMES = { auto: 'Theme of the system', light: 'Light theme', dark: 'Dark theme' };

function setUpTheme() {
  let theme = remembered.get('theme');
  const apply = () => {
    if (!Object.hasOwn(THEMES, theme)) theme = 'auto';
    document.documentElement.dataset.theme = theme;
    for (const name of ['aria-label', 'title']) setAttribute($('theme'), name, THEMES[theme]);
  };
  $('theme').addEventListener('click', () => {
    const names = Object.keys(THEMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    remembered.set('theme', theme);
    apply();
  });
  apply();
}

setUpTheme();
readView();
setUpCharts();
setUpTree();
setUpFilters();
setUpTabs();
setUpEvents();
setUpLimits();
setUpAdmin();
setUpDrawer();
const drawHeader = () => {
  drawIdentity();
  drawState();
};
for (const topic of ['status', 'nodes', 'connection']) on(topic, drawHeader);
setInterval(drawIdentity, 1000);
emit('view', { ...view });
begin();
