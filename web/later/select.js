/* select.js: choosing several pictures on the wall, and what is done with them. While it is on, a press
 * on a picture chooses it; with Shift, all from the one before. */
import { $, announce, complain, h, icon, setText, toast } from '../dom.js';
import { download, favour, onPick, pictures, removePictures } from '../gallery.js';
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

/* All of them, unless all are. */
function favourAll(list) {
  const wanted = !list.every(({ image }) => image.favourite);
  return favour(list, wanted).then(() => toast(wanted ? 'Favourites now' : 'No favourites any more'));
}

function askTag(list) {
  const input = h('input', { id: 'several-tag', maxlength: 100, autocomplete: 'off' });
  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'several-title', onclose: () => dialog.remove() },
    h('form', { novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      const add = input.value.split(',').map((each) => each.trim()).filter(Boolean);
      dialog.close();
      if (add.length)
        store.mark(list.map(({ image }) => image.id), { add }).then(() => toast(`Tagged ${add.join(', ')}`), complain);
    } },
    h('h2', { id: 'several-title' }, `Tag ${list.length === 1 ? 'a picture' : `${list.length} pictures`}`),
    h('div', { class: 'field' }, h('label', { for: 'several-tag' }, 'Tags ', h('small', {}, 'with commas between')), input),
    h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, 'Tag them'),
      h('button', { class: 'quiet', onclick: () => dialog.close() }, 'Cancel'))));
  document.body.append(dialog);
  dialog.showModal();
}

const acts = [
  { name: 'heart', label: 'Favourite', run: favourAll },
  { name: 'tag', label: 'Tag', run: askTag },
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
