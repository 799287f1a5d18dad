/* select.js: choosing several pictures on the wall, and what is done with them. While it is on, a press
 * on a picture chooses it; with Shift, all from the one before. */
import { $, announce, complain, h, icon, setText, toast } from '../dom.js';
import { favour, onPick, pictures, removePictures } from '../gallery.js';
import { store } from '../store.js';
import { t } from '../text.js';
import { download } from './acts.js';

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
  setText($('chosen-count'), some ? t('n_chosen', { n: chosen.size }) : t('choose_pictures'));
  for (const button of bar.querySelectorAll('[data-needs]'))
    button.disabled = !some;
  setText($('chosen-all'), chosen.size === all.length ? t('choose_none') : t('all'));
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
  announce(t('n_chosen', { n: chosen.size }));
}

const refresh = () => onPick(on ? pick : null, mark);

async function downloadAll() {
  for (const picture of list()) {
    await download(picture);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  toast(t('downloaded'));
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
  return favour(list, wanted).then(() => toast(wanted ? t('favourites_now') : t('no_favourites_any_more')));
}

function askTag(list) {
  const input = h('input', { id: 'several-tag', maxlength: 100, autocomplete: 'off' });
  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'several-title', onclose: () => dialog.remove() },
    h('form', { novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      const add = input.value.split(',').map((each) => each.trim()).filter(Boolean);
      dialog.close();
      if (add.length)
        store.mark(list.map(({ image }) => image.id), { add }).then(() => toast(t('tagged', { tags: add.join(', ') })), complain);
    } },
    h('h2', { id: 'several-title' }, t('tag_n', { n: list.length })),
    h('div', { class: 'field' }, h('label', { for: 'several-tag' }, t('tags'), ' ', h('small', {}, t('with_commas_between'))), input),
    h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, t('tag_them')),
      h('button', { class: 'quiet', onclick: () => dialog.close() }, t('cancel')))));
  document.body.append(dialog);
  dialog.showModal();
}

const acts = [
  { name: 'heart', label: t('favourite'), run: favourAll },
  { name: 'tag', label: t('tag'), run: askTag },
  { name: 'download', label: t('download'), run: downloadAll },
  { name: 'trash', label: t('delete'), run: removeAll },
];

function make() {
  bar = h('div', { id: 'select-bar', class: 'select-bar', role: 'toolbar', 'aria-label': t('chosen_pictures') },
    h('span', { id: 'chosen-count', class: 'now' }),
    h('button', { id: 'chosen-all', class: 'quiet', onclick: chooseAll }, t('all')),
    ...acts.map(({ name, label, run }) => h('button', { 'data-needs': true, 'aria-label': t('act_on_chosen', { act: label }),
      onclick: () => Promise.resolve(run(list())).catch(complain) }, icon(name), h('span', {}, label))),
    h('button', { class: 'bare', 'aria-label': t('stop_choosing'), title: t('stop_choosing'), onclick: stop },
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
    announce(t('choose_pictures_escape_ends'));
}
