/* expert.js: a control for every setting of the server's field table that has none of its own on the
 * page. What is left as it is takes the server's default and is not sent. */
import { $, h } from './dom.js';

const GROUPS = [
  ['all', 'Painting'], ['variation', 'Variation of the seed'], ['seed_size', 'Size of the seed'],
  ['ends', "The schedule's ends"], ['rho', "The schedule's bend"], ['beta', "The beta schedule's shape"],
  ['churn', 'Noise in between'], ['noise', 'Fresh noise'], ['low', 'Guidance'], ['refiner', 'Refiner'],
  ['hires', 'Second pass'], ['init', 'Painting over'], ['mask', 'Mask'], ['area', 'Around the mask'],
];
const controls = new Map(); /* field's name -> its control */

const wordsOf = (name) => name.replaceAll('_', ' ');

function makeControl(name, { type, enum: words, minimum, maximum, default: usual }) {
  const about = { id: `expert-${name}`, 'aria-describedby': `expert-${name}-about` };
  if (type === 'boolean')
    return h('input', { ...about, type: 'checkbox' });
  if (words)
    return h('select', about, h('option', { value: '' }, `usual${usual ? ` (${usual})` : ''}`),
      ...words.filter((word) => word !== usual).map((word) => h('option', { value: word }, word)));
  if (type === 'string')
    return h('input', { ...about, autocomplete: 'off', spellcheck: 'false', placeholder: usual ?? '' });
  if (Array.isArray(type))
    return h('input', { ...about, inputmode: 'numeric', placeholder: 'random' });
  return h('input', { ...about, type: 'number', step: type === 'integer' ? 1 : 'any', min: minimum,
    max: maximum, inputmode: 'decimal', placeholder: usual ?? 'usual' });
}

function valueOf(control, { type }) {
  if (type === 'boolean')
    return control.checked || undefined;
  const text = control.value.trim();
  if (text === '')
    return undefined;
  return type === 'integer' || type === 'number' ? Number(text) : text;
}

/* `set(name, value)` is called with what is chosen, undefined: the usual. */
export function fillExpert(fields, names, set) {
  const known = new Set(GROUPS.map(([part]) => part));
  const groupOf = (name) => known.has(fields[name]['x-part']) ? fields[name]['x-part'] : 'all';
  controls.clear();
  $('expert-list').replaceChildren(...GROUPS.map(([part, title]) => {
    const mine = names.filter((name) => groupOf(name) === part);
    return mine.length > 0 && h('fieldset', {}, h('legend', {}, title), ...mine.map((name) => {
      const control = makeControl(name, fields[name]);
      controls.set(name, control);
      control.addEventListener('input', () => set(name, valueOf(control, fields[name])));
      return h('div', { class: 'field expert', 'data-param': name,
        'data-words': `${wordsOf(name)} ${fields[name].description ?? ''}`.toLowerCase() },
      h('label', { for: control.id }, wordsOf(name)), control,
      h('small', { id: `expert-${name}-about` }, fields[name].description ?? ''));
    }));
  }).filter(Boolean));
}

/* Shows what is chosen. The control that is written in is left alone. */
export function showExpert(values) {
  for (const [name, control] of controls) {
    if (control === document.activeElement)
      continue;
    if (control.type === 'checkbox')
      control.checked = values[name] === true;
    else
      control.value = values[name] ?? '';
  }
}

$('expert-find').addEventListener('input', () => {
  const words = $('expert-find').value.trim().toLowerCase();
  for (const group of $('expert-list').children) {
    for (const row of group.querySelectorAll('.expert'))
      row.hidden = !row.dataset.words.includes(words);
    group.hidden = !group.querySelector('.expert:not([hidden])');
  }
});
