/* recall.js: what was painted before, to be written again: a list to choose from, and Alt+Up and Alt+Down in
 * the prompt, which go through it; behind the newest is what was being written. */
import { $, h, hostMessages, icon } from '../dom.js';
import { paramsOf, pictures } from '../gallery.js';
import { store } from '../store.js';
import { t } from '../text.js';

const SHOWN = 200;
let at = -1, written = '', shown = null, dialog = null;

const all = () => [...new Set(pictures().map((picture) => paramsOf(picture).prompt).filter(Boolean))];

function write(area, text) {
  area.value = text;
  area.dispatchEvent(new Event('input', { bubbles: true }));
}

export function recall(area, ways) {
  const prompts = all();
  if (area.value !== shown) { /* something else is being written now */
    at = -1;
    written = area.value;
  }
  at = Math.max(-1, Math.min(prompts.length - 1, at + ways));
  shown = at < 0 ? written : prompts[at];
  write(area, shown);
}

function fill() {
  const words = $('recall-find').value.trim().toLowerCase();
  const found = all().filter((prompt) => prompt.toLowerCase().includes(words)).slice(0, SHOWN);
  $('recall-none').hidden = found.length > 0;
  $('recall-list').replaceChildren(...found.map((prompt) => h('li', {}, h('button', { class: 'label-prompt', onclick: () => {
    dialog.close();
    write($('prompt'), prompt);
    $('prompt').focus();
  } }, prompt))));
}

function make() {
  dialog = h('dialog', { id: 'recall-dialog', class: 'sheet recall', 'aria-labelledby': 'recall-title', onclose: () => hostMessages() },
    h('div', { class: 'sheet-top' }, h('h2', { id: 'recall-title' }, t('painted_before')),
      h('button', { class: 'round', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
    h('div', { class: 'search', role: 'search' }, icon('search'), h('input', { id: 'recall-find', type: 'search', placeholder: t('words_in_it'),
      'aria-label': t('words_in_it'), autocomplete: 'off', spellcheck: 'false', oninput: fill })),
    h('p', { id: 'recall-none', class: 'now', hidden: true }, t('nothing_like_that')),
    h('ol', { id: 'recall-list', class: 'recall-list' }));
  document.body.append(dialog);
  store.addEventListener('change', () => dialog.open && fill());
}

export function open() {
  if (!dialog)
    make();
  $('recall-find').value = '';
  fill();
  dialog.showModal();
  hostMessages(dialog);
}
