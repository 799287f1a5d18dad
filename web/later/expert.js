/* expert.js: a control for every setting of the server's field table that has none of its own on the
 * page. What is left as it is takes the server's default and is not sent. */
import { $, h } from '../dom.js';
import { fieldText, t } from '../text.js';

const GROUPS = [
  ['all', t('painting')], ['variation', t('variation_of_the_seed')], ['seed_size', t('size_of_the_seed')],
  ['ends', t('the_schedules_ends')], ['rho', t('the_schedules_bend')], ['beta', t('the_beta_schedules_shape')],
  ['churn', t('noise_in_between')], ['noise', t('fresh_noise')], ['low', t('guidance')], ['refiner', t('refiner')],
  ['hires', t('second_pass')], ['init', t('part_painting_over')], ['mask', t('mask')], ['area', t('around_the_mask')],
];
const controls = new Map(); /* field's name -> its control */

function makeControl(name, { type, enum: words, minimum, maximum, default: usual }) {
  const about = { id: `expert-${name}`, 'aria-describedby': `expert-${name}-about` };
  if (type === 'boolean')
    return h('input', { ...about, type: 'checkbox' });
  if (words)
    return h('select', about, h('option', { value: '' }, usual ? t('usual_is', { usual }) : t('usual')),
      ...words.filter((word) => word !== usual).map((word) => h('option', { value: word }, word)));
  if (type === 'string')
    return h('input', { ...about, autocomplete: 'off', spellcheck: 'false', placeholder: usual ?? '' });
  if (Array.isArray(type))
    return h('input', { ...about, inputmode: 'numeric', placeholder: t('random') });
  return h('input', { ...about, type: 'number', step: type === 'integer' ? 1 : 'any', min: minimum,
    max: maximum, inputmode: 'decimal', placeholder: usual ?? t('usual') });
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
export function fill(fields, names, set) {
  const known = new Set(GROUPS.map(([part]) => part));
  const groupOf = (name) => known.has(fields[name]['x-part']) ? fields[name]['x-part'] : 'all';
  controls.clear();
  $('expert-list').replaceChildren(...GROUPS.map(([part, title]) => {
    const mine = names.filter((name) => groupOf(name) === part);
    return mine.length > 0 && h('fieldset', {}, h('legend', {}, title), ...mine.map((name) => {
      const control = makeControl(name, fields[name]);
      controls.set(name, control);
      control.addEventListener('input', () => set(name, valueOf(control, fields[name])));
      const [words, about] = fieldText(name, fields[name]);
      return h('div', { class: 'field expert', 'data-param': name, 'data-words': `${name} ${words} ${about}`.toLowerCase() },
        h('label', { for: control.id }, words), control, h('small', { id: `expert-${name}-about` }, about));
    }));
  }).filter(Boolean));
}

/* Shows what is chosen. The control that is written in is left alone. */
export function show(values) {
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
