'use strict';
// Elements and topics. Text of nodes reaches the page as text nodes and attributes only.

const $ = (id) => document.getElementById(id);

/** Makes an element. `options` are attributes, except for `text`, `click` and `data`. */
function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') made.textContent = value;
    else if (name === 'click') made.addEventListener('click', value);
    else if (name === 'data') Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Replaces the children, those that are null left out. */
function setChildren(target, ...children) {
  target.replaceChildren(...children.filter((child) => child !== null));
}

function button(text, click, options = {}) {
  return element('button', { type: 'button', text, click, ...options });
}

/** Sets text only where it differs, so that selections and screen readers are left alone. */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function setAttribute(target, name, value) {
  if (value === null || value === undefined || value === false) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** A button that copies a text and confirms it. */
function copyButton(text, what, label = 'Copy') {
  const made = button(label, async () => {
    setText(made, (await copy(text)) ? 'Copied' : 'Failed');
    setTimeout(() => setText(made, label), 1500);
  }, { class: 'copy', 'aria-label': 'Copy ' + what });
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard needs https or localhost. A selection works anywhere.
    const area = element('textarea', { class: 'offscreen', 'aria-hidden': 'true' });
    area.value = text;
    const focused = document.activeElement;
    (focused?.closest('dialog') ?? document.body).append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    focused?.focus();
    return isCopied;
  }
}

/** Buttons of which one is pressed. Returns a function that presses the one with this value. */
function segments(group, choices, choose) {
  group.replaceChildren(...choices.map(([value, text]) =>
    button(text, () => choose(value), { data: { value } })));
  return (value) => {
    for (const one of group.children) setAttribute(one, 'aria-pressed', one.dataset.value === value);
  };
}

/** Runs `act` once before the next frame, however often it is called until then. */
function onceAFrame(act) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    const run = () => {
      if (!isAsked) return;
      isAsked = false;
      act();
    };
    requestAnimationFrame(run);
    // A hidden tab draws no frames.
    setTimeout(run, 250);
  };
}

const listeners = {};

function on(topic, act) {
  (listeners[topic] ??= []).push(act);
}

function emit(topic, data) {
  for (const act of listeners[topic] ?? []) act(data);
}

/** Storage of the browser. Without permission it stays empty. */
const remembered = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, value); } catch { /* not allowed */ }
  },
};
