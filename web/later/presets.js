/* presets.js: settings under names, and those that a model is to have whenever it is chosen. Both are kept
 * in this browser. */
import { $, announce, h, icon, setText, toast } from '../dom.js';
import { painter } from '../form.js';
import { t } from '../text.js';

const STORED = 'pictor.presets';
let presets = {};

function read() {
  try {
    presets = JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch { /* not ours, or none may be kept */ }
}

function keep() {
  try {
    localStorage.setItem(STORED, JSON.stringify(presets));
  } catch {
    toast(t('not_kept_here'), { bad: true });
  }
}

function show(name = '') {
  const names = Object.keys(presets).sort((a, b) => a.localeCompare(b));
  $('preset').replaceChildren(h('option', { value: '' }, t(names.length ? 'choose_one' : 'none_yet')),
    ...names.map((each) => h('option', { value: each }, each)));
  $('preset').value = name;
  $('preset').disabled = !names.length;
  $('preset-remove').hidden = !name;
}

function use() {
  const name = $('preset').value;
  $('preset-remove').hidden = !name;
  if (!name)
    return;
  painter.useState(presets[name]);
  announce(t('preset_used', { name }));
}

function save() {
  const name = $('preset-name').value.trim();
  if (!name) {
    $('preset-name').focus();
    return;
  }
  presets = { ...presets, [name]: painter.state() };
  $('preset-name').value = '';
  keep();
  show(name);
  toast(t('preset_saved', { name }));
}

function drop() {
  const name = $('preset').value, { [name]: gone, ...others } = presets;
  presets = others;
  keep();
  show();
  $('preset-name').focus();
  toast(t('preset_removed', { name }), { action: { label: t('undo'), run: () => {
    presets = { ...presets, [name]: gone };
    keep();
    show(name);
  } } });
}

/* Of the model: what is set now is what choosing it sets. */
function showOwn() {
  const has = painter.keepsForModel();
  $('own').setAttribute('aria-pressed', String(has));
  setText($('own'), t(has ? 'kept_for_model' : 'keep_for_model'));
}

function make() {
  $('presets').append(h('label', { for: 'preset' }, t('presets')),
    h('div', { class: 'preset-row' }, h('select', { id: 'preset', onchange: use }),
      h('button', { id: 'preset-remove', hidden: true, title: t('remove_preset'), 'aria-label': t('remove_preset'), onclick: drop },
        icon('trash'))),
    h('div', { class: 'preset-row' }, h('input', { id: 'preset-name', maxlength: 60, autocomplete: 'off', placeholder: t('name_of_preset'),
      'aria-label': t('name_of_preset'), onkeydown: (event) => {
        if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) {
          event.preventDefault();
          save();
        }
      } }), h('button', { onclick: save }, t('save_these'))));
  for (const id of ['preset', 'preset-name'])
    $(id).addEventListener('input', (event) => event.stopPropagation()); /* they are no settings */
  $('reset').after(h('button', { id: 'own', class: 'quiet', title: t('keep_for_model_about'), onclick: () => {
    const has = painter.keepForModel(!painter.keepsForModel());
    showOwn();
    announce(t(has ? 'is_kept_for_model' : 'no_longer_kept_for_model'));
  } }));
  $('model').addEventListener('input', showOwn);
}

export function open() {
  if (!$('preset')) {
    read();
    make();
    show();
  }
  showOwn();
}
