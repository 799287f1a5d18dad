/* limits.js: a key's share of the painters, and the most that it may have of a day or a month. */
import { put } from '../api.js';
import { complain, h, plainWords, setText, toast } from '../dom.js';
import { t } from '../text.js';

const MOST = [['pictures', t('pictures_made'), 1], ['megapixel_steps', t('megapixel_steps'), 'any'], ['money', t('money_spent'), 'any']];
const PERIODS = [['day', t('a_day')], ['month', t('a_month')]];

/* `done()` is called when they are others. */
export function ask(key, done) {
  const error = h('p', { class: 'error', role: 'alert' });
  const field = (name, label, options) => h('div', { class: 'field' }, h('label', { for: `limit-${name}` }, label),
    h('input', { id: `limit-${name}`, name, type: 'number', min: 0, inputmode: 'decimal', value: key[name] || '', placeholder: t('no_limit'), ...options }));
  const form = h('form', { novalidate: true, 'aria-labelledby': 'limits-title', onsubmit: async (event) => {
    event.preventDefault();
    setText(error, '');
    try {
      await put(`api/keys/${key.id}`, Object.fromEntries([...form.querySelectorAll('input')].map(({ name, value }) =>
        [name, value.trim() === '' ? Number(name === 'weight') : Number(value)])));
      dialog.close();
      toast(t('limits_are_set', { name: key.name }));
      await Promise.resolve(done()).catch(complain);
    } catch (problem) {
      setText(error, plainWords(problem.message));
    }
  } },
  h('h2', { id: 'limits-title' }, t('limits_of', { name: key.name })),
  h('div', {}, field('weight', t('weight_of_key'), { min: 1, max: 1000, step: 'any', 'aria-describedby': 'weight-about' }),
    h('small', { id: 'weight-about' }, t('weight_of_key_about'))),
  ...MOST.map(([name, label, step]) => h('fieldset', {}, h('legend', {}, label), h('div', { class: 'two' },
    ...PERIODS.map(([period, words]) => field(`${name}_per_${period}`, words, { step }))))),
  error,
  h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, t('set_them')),
    h('button', { class: 'quiet', onclick: () => dialog.close() }, t('cancel'))));
  const dialog = h('dialog', { id: 'limits', class: 'sheet', 'aria-labelledby': 'limits-title', onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
}
