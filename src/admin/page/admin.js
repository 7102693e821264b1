'use strict';
// Draining nodes. The admin token stays in this tab's memory: a reload forgets it.

let adminToken = null;

/** Sends a request with the token. Returns its status and its text. */
async function drainRequest(query, token) {
  const answer = await fetch(addressOf('/drain' + query), { method: 'POST', headers: { Authorization: 'Bearer ' + token } });
  return { status: answer.status, text: await answer.text() };
}

function dialog(title, ...children) {
  const made = element('dialog', { 'aria-label': title }, element('h2', { text: title }), ...children);
  made.addEventListener('close', () => made.remove());
  // A click outside of it closes it.
  made.addEventListener('click', (event) => {
    if (event.target === made) made.close();
  });
  document.body.append(made);
  made.showModal();
  return made;
}

function askForToken() {
  const input = element('input', { type: 'password', id: 'token', autocomplete: 'off', required: true });
  const problem = element('p', { class: 'tone bad', role: 'alert' });
  const submit = element('button', { type: 'submit', class: 'primary', text: 'Enable changes' });
  const form = element('form', {},
    element('p', { class: 'soft', text: 'The token of --admin-token-file. It is kept in this tab until it is reloaded.' }),
    element('label', { for: 'token', text: 'Admin token' }), input, problem,
    element('div', { class: 'buttons' }, button('Cancel', () => made.close()), submit));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const token = input.value.trim();
    try {
      // Without a node this drains nothing: 400 shows that the token is right.
      const { status, text } = await drainRequest('', token);
      if (status === 400) {
        adminToken = token;
        made.close();
        emit('admin');
      } else {
        setText(problem, text.trim());
      }
    } catch {
      setText(problem, 'The token cannot be checked: it has characters that no token has, or the Distributor is not reachable.');
    }
    submit.disabled = false;
  });
  const made = dialog('Enable changes', form);
  input.focus();
}

/** Drains nodes after a confirmation, and shows the result. `query` selects the nodes. */
function askToDrain(what, query) {
  const report = element('div', { role: 'status' });
  const cancel = button('Cancel', () => made.close());
  const drain = button('Drain', async () => {
    drain.disabled = true;
    setText(report, 'Draining: waiting for acknowledgements …');
    try {
      const { status, text } = await drainRequest(query + '&wait_ms=5000', adminToken);
      if (status === 200) {
        report.replaceChildren(...drainReport(JSON.parse(text)));
        drain.remove();
        setText(cancel, 'Close');
        cancel.focus();
        refreshNodesSoon();
        return;
      }
      setText(report, text.trim());
    } catch {
      setText(report, 'No answer: see in the events whether it was drained.');
    }
    drain.disabled = false;
  }, { class: 'danger' });
  const made = dialog('Drain ' + what + '?',
    element('p', { text: 'It leaves the list of all peers now. Its connection stays, and it is listed again when it registers again.' }),
    report, element('div', { class: 'buttons' }, cancel, drain));
}

function drainReport({ drained, rev, acked, of, blind, late }) {
  const lines = [
    counted(drained.length, 'node') + ' left the list with revision ' + number(rev) + '.',
    of ? number(acked) + ' of ' + counted(of, 'session') + ' acknowledged it.' : 'There are no sessions to acknowledge it.',
  ];
  if (blind) lines.push(counted(blind, 'plain peer does', 'plain peers do') + ' not acknowledge.');
  if (late.length) {
    const names = late.slice(0, 10).map(({ name }) => nameOf(name)).join(', ');
    lines.push('Not acknowledged yet: ' + names + (late.length > 10 ? ' and ' + number(late.length - 10) + ' more' : '') + '.');
  }
  return lines.map((text) => element('p', { text }));
}

function setUpAdmin() {
  const unlock = $('unlock');
  const update = () => {
    unlock.hidden = !status?.can_drain;
    setText(unlock, adminToken ? 'Changes enabled' : 'Admin token');
    setAttribute(unlock, 'title', adminToken ? 'Forget the admin token' : 'Enter the admin token to drain nodes');
    unlock.classList.toggle('on', Boolean(adminToken));
  };
  unlock.addEventListener('click', () => {
    if (!adminToken) {
      askForToken();
      return;
    }
    adminToken = null;
    emit('admin');
  });
  on('status', update);
  on('admin', update);
}
