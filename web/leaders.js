/* leaders.js: ControlNets, each with a picture whose lines, depth or pose the painting keeps to. Which
 * there are is asked for when this part is opened. */
import { get } from './api.js';
import { $, complain, h, icon, toast } from './dom.js';
import { readAsDataUrl } from './source.js';
import { store } from './store.js';

const MODES = [['balanced', 'both alike'], ['prompt', 'the words more'], ['control', 'the picture more']];
const SEEN = { none: 'as it is', canny: 'its edges (canny)' };
let units = [], models = null; /* models: names, once they were asked for */

const select = (label, list, unit, name) => {
  const element = h('select', { 'aria-label': label, onchange: () => { unit[name] = element.value; } },
    ...list.map(([value, words]) => h('option', { value }, words)));
  element.value = unit[name];
  return element;
};

function makeUnit(unit, at) {
  const { items } = store.fields.controls, modules = items.properties.preprocessor.examples ?? ['none'];
  const picture = h('img', { alt: 'The picture to keep to', class: 'beside', hidden: true });
  if (unit.image) {
    picture.src = unit.image;
    picture.hidden = false;
  }
  const file = h('input', { type: 'file', accept: 'image/*', 'aria-label': `Picture of ControlNet ${at + 1}`,
    onchange: async () => {
      if (!file.files[0])
        return;
      unit.image = await readAsDataUrl(file.files[0]);
      render();
    } });
  const weight = h('input', { type: 'number', min: 0, max: 10, step: 'any', inputmode: 'decimal',
    'aria-label': 'Weight', value: unit.weight, oninput: () => { unit.weight = Number(weight.value); } });
  const labelled = (words, control) => h('label', { class: 'field' }, words, control);
  return h('li', { class: 'leader' },
    h('div', { class: 'with-buttons' }, picture, file, h('button', { class: 'bare', title: 'Remove',
      'aria-label': `Remove ControlNet ${at + 1}`, onclick: () => {
        units = units.filter((each) => each !== unit);
        render();
        $('leader-add').focus();
      } }, icon('trash'))),
    h('div', { class: 'two' },
      labelled('ControlNet', select('ControlNet', models.map((name) => [name, name]), unit, 'model')),
      labelled('What is looked at', select('Preprocessor', modules.map((name) =>
        [name, SEEN[name] ?? name.replaceAll('_', ' ')]), unit, 'preprocessor')),
      labelled('Weight', weight),
      labelled('What counts', select('Mode', MODES, unit, 'mode'))));
}

function render() {
  $('leaders-list').replaceChildren(...units.map(makeUnit));
  $('leader-add').hidden = !models?.length ||
    units.length >= (store.fields.controls?.maxItems ?? 1);
  $('leaders-none').hidden = !models || models.length > 0;
  $('leaders-summary').textContent = units.length ? `${units.length} at work` : '';
}

/* The `controls` of a request. A picture that is left out is the one painted over. */
export const leaders = () => units.map((unit) => ({ ...unit, image: unit.image || undefined }));

async function ask() {
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

$('leaders').addEventListener('toggle', ask);
store.addEventListener('models', ask);
$('leader-add').addEventListener('click', () => {
  if (!models.length) {
    toast('There is no ControlNet here');
    return;
  }
  units.push({ model: models[0], preprocessor: 'none', weight: 1, mode: 'balanced', image: '' });
  render();
  $('leaders-list').lastElementChild.querySelector('input').focus();
});
