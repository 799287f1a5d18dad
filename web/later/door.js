/* door.js: asks for the key where the server wants one. */
import { setKey } from '../api.js';
import { $, h, setText } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';

const form = h('form', { id: 'key-form', novalidate: true },
  h('h2', { id: 'key-title' }, t('asks_for_key')),
  h('p', {}, t('who_makes_keys'), ' ', h('code', {}, 'pictor keys add NAME'), t('where_the_key_stays')),
  h('div', { class: 'field', 'data-param': 'key' }, h('label', { for: 'key' }, t('key')),
    h('input', { id: 'key', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'pk_…',
      'aria-describedby': 'key-error' }), h('p', { id: 'key-error', class: 'error', role: 'alert' })),
  h('label', { class: 'check' }, h('input', { id: 'key-keep', type: 'checkbox' }), ' ', t('remember_key')),
  h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, t('enter'))));
const dialog = h('dialog', { id: 'key-dialog', class: 'sheet', 'aria-labelledby': 'key-title',
  oncancel: (event) => event.preventDefault() }, form); /* nothing works without it */
document.body.append(dialog);
store.addEventListener('ready', () => dialog.close());

/* Resolves when there is another. `message`: why the one that was there is no good. */
export function ask(message) {
  setText($('key-error'), message);
  $('key').value = '';
  if (!dialog.open)
    dialog.showModal();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      setKey($('key').value.trim(), $('key-keep').checked);
      resolve(); /* it closes when the key is good */
    };
  });
}
