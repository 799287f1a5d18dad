/* select.js: choosing several pictures on the wall, and what is done with them. While it is on, a press
 * on a picture chooses it; with Shift, all from the one before. */
import { $, announce, complain, h, icon, setText, toast } from '../dom.js';
import { download, onPick, pictures, removePictures } from '../gallery.js';
import { store } from '../store.js';

const PAUSE_MS = 300; /* browsers refuse files that come faster */
let chosen = new Set(), last = null, bar = null, on = false;

const list = () => pictures().filter(({ image }) => chosen.has(image.id));

function mark(element, picture) {
  const button = element.querySelector('.open');
  if (!picture || !button)
    return;
  element.classList.toggle('chosen', on && chosen.has(picture.image.id));
  if (on)
    button.setAttribute('aria-pressed', String(chosen.has(picture.image.id)));
  else
    button.removeAttribute('aria-pressed');
}

function show() {
  const all = pictures();
  const there = new Set(all.map(({ image }) => image.id));
  chosen = new Set([...chosen].filter((id) => there.has(id)));
  const some = chosen.size > 0;
  setText($('chosen-count'), some ? `${chosen.size} chosen` : 'Choose pictures');
  for (const button of bar.querySelectorAll('[data-needs]'))
    button.disabled = !some;
  setText($('chosen-all'), chosen.size === all.length ? 'None' : 'All');
}

function pick(picture, event) {
  const { id } = picture.image, all = pictures().map(({ image }) => image.id);
  const from = event.shiftKey && last ? all.indexOf(last) : -1, to = all.indexOf(id);
  if (from >= 0)
    for (const each of all.slice(Math.min(from, to), Math.max(from, to) + 1))
      chosen.add(each);
  else if (!chosen.delete(id))
    chosen.add(id);
  last = id;
  show();
  refresh();
  announce(`${chosen.size} chosen`);
}

const refresh = () => onPick(on ? pick : null, mark);

async function downloadAll() {
  for (const picture of list()) {
    await download(picture);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  toast('Downloaded');
}

function removeAll() {
  removePictures(list());
  chosen.clear();
  show();
  refresh();
}

function chooseAll() {
  const all = pictures();
  chosen = new Set(chosen.size === all.length ? [] : all.map(({ image }) => image.id));
  show();
  refresh();
}

/* Another module may add what can be done with several: {name, label, run(pictures)}. */
export const acts = [
  { name: 'download', label: 'Download', run: downloadAll },
  { name: 'trash', label: 'Delete', run: removeAll },
];

function make() {
  bar = h('div', { id: 'select-bar', class: 'select-bar', role: 'toolbar', 'aria-label': 'Chosen pictures' },
    h('span', { id: 'chosen-count', class: 'now' }),
    h('button', { id: 'chosen-all', class: 'quiet', onclick: chooseAll }, 'All'),
    ...acts.map(({ name, label, run }) => h('button', { 'data-needs': true, 'aria-label': `${label} the chosen`,
      onclick: () => Promise.resolve(run(list())).catch(complain) }, icon(name), h('span', {}, label))),
    h('button', { class: 'bare', 'aria-label': 'Stop choosing', title: 'Stop choosing', onclick: stop },
      icon('close')));
  $('gallery').append(bar);
}

function keys(event) {
  if (event.target.closest('input, textarea, select, dialog[open]') || !on)
    return;
  if (event.key === 'Escape')
    stop();
  else if (event.key === 'Delete' && chosen.size)
    removeAll();
  else if (event.key === 'a' && (event.ctrlKey || event.metaKey))
    chooseAll();
  else
    return;
  event.preventDefault();
}

function set(value) {
  on = value;
  $('select').setAttribute('aria-pressed', String(on));
  $('gallery').classList.toggle('choosing', on);
  bar.hidden = !on;
  chosen.clear();
  last = null;
  show();
  refresh();
}

export function stop() {
  set(false);
  $('select').focus({ preventScroll: true });
}

export function toggle() {
  if (!bar) {
    make();
    addEventListener('keydown', keys);
    store.addEventListener('change', () => on && show());
  }
  set(!on);
  if (on)
    announce('Choose pictures; Escape ends it');
}
