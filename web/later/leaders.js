/* leaders.js: ControlNets, each with a picture whose lines, depth or pose the painting keeps to. Which
 * there are is asked for when this part is opened. */
import { get } from '../api.js';
import { $, complain, h, icon, toast } from '../dom.js';
import { leadBy } from '../form.js';
import { readAsDataUrl } from '../source.js';
import { store } from '../store.js';
import { t } from '../text.js';

const MODES = [['balanced', t('both_alike')], ['prompt', t('the_words_more')], ['control', t('the_picture_more')]];
const SEEN = { none: t('as_it'), canny: t('its_edges_canny') };
$('leaders').querySelector('.fold-body').append(h('p', { class: 'now' }, t('controlnets_about')), h('ol', { id: 'leaders-list', class: 'leaders' }),
  h('p', { id: 'leaders-none', hidden: true }, t('no_controlnet_yet'), ' ', h('a', { href: '#models' }, t('models'))),
  h('button', { id: 'leader-add', hidden: true }, t('add_a_controlnet')));
let units = [], models = null; /* models: names, once they were asked for */

const select = (label, list, unit, name) => {
  const element = h('select', { 'aria-label': label, onchange: () => { unit[name] = element.value; } },
    ...list.map(([value, words]) => h('option', { value }, words)));
  element.value = unit[name];
  return element;
};

function makeUnit(unit, at) {
  const { items } = store.fields.controls, modules = items.properties.preprocessor.examples ?? ['none'];
  const picture = h('img', { alt: t('the_picture_to_keep'), class: 'beside', hidden: true });
  if (unit.image) {
    picture.src = unit.image;
    picture.hidden = false;
  }
  const file = h('input', { type: 'file', accept: 'image/*', 'aria-label': t('picture_of_net', { n: at + 1 }),
    onchange: async () => {
      if (!file.files[0])
        return;
      unit.image = await readAsDataUrl(file.files[0]);
      render();
    } });
  const weight = h('input', { type: 'number', min: 0, max: 10, step: 'any', inputmode: 'decimal',
    'aria-label': t('weight'), value: unit.weight, oninput: () => { unit.weight = Number(weight.value); } });
  const labelled = (words, control) => h('label', { class: 'field' }, words, control);
  return h('li', { class: 'leader' },
    h('div', { class: 'with-buttons' }, picture, file, h('button', { class: 'bare', title: t('remove'),
      'aria-label': t('remove_net', { n: at + 1 }), onclick: () => {
        units = units.filter((each) => each !== unit);
        render();
        $('leader-add').focus();
      } }, icon('trash'))),
    h('div', { class: 'two' },
      labelled(t('controlnet'), select(t('controlnet'), models.map((name) => [name, name]), unit, 'model')),
      labelled(t('what_is_looked_at'), select(t('preprocessor'), modules.map((name) =>
        [name, SEEN[name] ?? name.replaceAll('_', ' ')]), unit, 'preprocessor')),
      labelled(t('weight'), weight),
      labelled(t('what_counts'), select(t('mode'), MODES, unit, 'mode'))));
}

function render() {
  $('leaders-list').replaceChildren(...units.map(makeUnit));
  $('leader-add').hidden = !models?.length ||
    units.length >= (store.fields.controls?.maxItems ?? 1);
  $('leaders-none').hidden = !models || models.length > 0;
  $('leaders-summary').textContent = units.length ? t('n_at_work', { n: units.length }) : '';
}

/* The `controls` of a request. A picture that is left out is the one painted over. */
leadBy(() => units.map((unit) => ({ ...unit, image: unit.image || undefined })));

export async function ask() {
  if (!$('leaders').open)
    return;
  try {
    const { files } = await get('api/files?kind=controlnet&limit=200');
    models = files.filter(({ problem }) => !problem).map(({ name }) => name);
    render();
  } catch (error) {
    complain(error);
  }
}

store.addEventListener('models', ask);
$('leader-add').addEventListener('click', () => {
  if (!models.length) {
    toast(t('there_is_no_controlnet_here'));
    return;
  }
  units.push({ model: models[0], preprocessor: 'none', weight: 1, mode: 'balanced', image: '' });
  render();
  $('leaders-list').lastElementChild.querySelector('input').focus();
});
