/* dom.js: building elements, and telling the person what happened. Text from outside reaches the
 * page as text nodes and attributes only; nothing here or elsewhere parses HTML. */
import { messageText, serverWords, t } from './text.js';

export const $ = (id) => document.getElementById(id);

/* h('button', {class: 'round', onclick: run, 'aria-label': name}, icon('close'), 'Close') */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (tag === 'button')
    element.type = 'button';
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on'))
      element.addEventListener(name.slice(2), value);
    else if (value === true)
      element.setAttribute(name, '');
    else if (value !== false && value != null)
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/* Sets text only where it differs: a node that is written anew loses the reader's selection. */
export function setText(element, text) {
  if (element.textContent !== text)
    element.textContent = text;
}

/* Makes `parent` show exactly `wanted`, moving only what is out of place, so that focus and
 * scrolling survive. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children])
    if (!keep.has(child))
      child.remove();
  let at = parent.firstElementChild;
  for (const child of wanted) {
    if (child === at)
      at = at.nextElementSibling;
    else
      parent.insertBefore(child, at);
  }
}

/* For screen readers; `urgent` interrupts what is being read. */
export function announce(text, urgent = false) {
  $(urgent ? 'alert' : 'live').textContent = text;
}

/* A modal dialog silences and covers all outside it: messages move into it while it is open. */
export const hostMessages = (host = document.body) => host.append($('messages'));

/* A note that goes away by itself, but not while the pointer or the focus is on it. `action` is
 * {label, run}; `gone` is called when it went without the action. */
export function toast(text, { action, gone, seconds = 5, bad = false } = {}) {
  const same = [...$('toasts').children].find((note) => note.firstChild.textContent === text);
  if (same && !action) {
    same.dispatchEvent(new Event('mouseleave')); /* it stays as long again */
    return;
  }
  let timer, closed = false, before = null;
  const hold = () => clearTimeout(timer);
  const close = (acted) => {
    hold();
    closed = true; /* taking the focus away below would start the clock again */
    if (note.contains(document.activeElement))
      before?.focus();
    note.remove();
    if (acted)
      action.run();
    else
      gone?.();
  };
  const wait = () => {
    hold();
    if (!closed)
      timer = setTimeout(close, seconds * 1000, false);
  };
  const note = h('div', {
    class: bad ? 'toast bad' : 'toast', onmouseenter: hold, onmouseleave: wait, onfocusout: wait,
    onfocusin: (event) => {
      before ??= event.relatedTarget;
      hold();
    },
  }, h('span', {}, text),
  action && h('button', { onclick: () => close(true) }, action.label));
  $('toasts').append(note);
  announce(text, bad);
  wait();
}

/* What a field is called on the page, where it has a control. */
export const fieldName = (name) => document.querySelector(`label[for="${CSS.escape(name)}"]`)?.firstChild.data.trim() ??
  name.replaceAll('_', ' ');

/* What the server says to programs, as people say it: "width must be 64..4096, got 7". */
export function plainWords(message) {
  const said = messageText(message, fieldName);
  if (said)
    return said;
  const named = message.replace(/^[a-z]+(_[a-z]+)+/, (name) => name.replaceAll('_', ' '))
    .replace(/(-?[\d.]*\d)\.\.(-?[\d.]*\d)/, 'from $1 to $2').replace(/, got (.+)$/, ', not $1');
  return /^[a-z ]+ must /.test(named) ? named.charAt(0).toUpperCase() + named.slice(1) : named;
}

export const complain = (error) => serverWords().then(() =>
  toast(plainWords(error.message), { bad: true, seconds: 8 }));

/* Follows an address as a download; one that was made of a Blob is given back. */
export function save(url, name) {
  h('a', { href: url, download: name }).click();
  if (url.startsWith('blob:'))
    setTimeout(URL.revokeObjectURL, 60000, url);
}

/* The clipboard interface is there on localhost and https only; a server at home has neither. */
export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = h('textarea', { class: 'hidden' });
  area.value = text;
  $('messages').append(area);
  const focused = document.activeElement;
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus();
  if (!copied)
    throw new Error(t('no_copying'));
}
