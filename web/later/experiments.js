/* experiments.js: sweeps over one to three settings, kept by the server with all that went in: a list,
 * a form for a new one, and experiment_grid.js for one that is looked at. */
import { get, post, remove } from '../api.js';
import { $, complain, h, icon, plainWords, setText, toast } from '../dom.js';
import { painter } from '../form.js';
import { store } from '../store.js';
import { momentText, t } from '../text.js';
import { open as openGrid, close as closeGrid } from './experiment_grid.js';

const AXES = 3, MOST = 200, SEEDS = 2 ** 32;
const numbers = (text, name) => valuesOf(text).map((each) => {
  const number = Number(each);
  if (!Number.isFinite(number))
    throw new Error(t('no_number', { name, word: each }));
  return number;
});
const words = (text) => valuesOf(text);
/* kind: [label, what to write, an example, values of the field or the axis]. */
const KINDS = {
  steps: [t('steps'), t('write_numbers'), '5, 10, 20', numbers],
  guidance: [t('guidance'), t('write_numbers'), '2, 4, 7', numbers],
  strength: [t('strength'), t('write_numbers'), '0.3, 0.6, 0.9', strengthAxis],
  seed: [t('seed'), t('whole_numbers'), '1..4', numbers],
  sampler: [t('sampler'), t('write_names'), 'Euler a, DPM++ 2M, UniPC', words],
  scheduler: [t('schedule'), t('write_names'), 'uniform, karras', words],
  model: [t('model'), t('write_names'), '', words],
  clip_skip: [t('clip_skip'), t('whole_numbers'), '1, 2', numbers],
  eta: [t('eta'), t('write_numbers'), '0, 0.5, 1', numbers],
  prompt: [t('words_of_the_prompt'), t('a_word_of_the_prompt'), 'red, blue, green', promptAxis],
  lora: [t('weight_of_a_lora'), t('its_name_then_weights'), 'ink, 0, 0.5, 1', loraAxis],
};
let part = null, base = null;

/* "1, 2, 3", "1..5", "0..1 by 0.25" */
function valuesOf(text) {
  return text.split(',').map((each) => each.trim()).filter(Boolean).flatMap((each) => {
    const range = each.match(/^(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)(?:\s+by\s+([\d.]+))?$/);
    if (!range)
      return [each];
    const [from, to, by] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
    if (!(by > 0) || !(to >= from) || (to - from) / by > MOST)
      throw new Error(t('no_range', { word: each }));
    return Array.from({ length: Math.floor((to - from) / by + 1e-9) + 1 }, (_, i) =>
      String(Math.round((from + i * by) * 1e6) / 1e6));
  });
}

/* Of how much of a picture is kept, which has to be there. */
function strengthAxis(text, name) {
  if (!base.init_image)
    throw new Error(t('strength_of_what'));
  return numbers(text, name);
}

/* An axis that puts each of `values` in the place of `find`, which has to be in the prompt. */
function promptAxis(text) {
  const values = valuesOf(text), [find] = values;
  if (!find || !base.prompt.includes(find))
    throw new Error(t('prompt_has_no', { word: find ?? '', prompt: base.prompt }));
  return { field: 'prompt', find, values };
}

/* The tag that the prompt has, or gets at its end. */
function loraAxis(text) {
  const [name, ...weights] = valuesOf(text);
  if (!name || /[:<>]/.test(name))
    throw new Error(t('write_the_name'));
  const tag = (weight) => `<lora:${name}:${weight}>`;
  const at = base.prompt.indexOf(`<lora:${name}:`);
  const find = at < 0 ? tag(1) : base.prompt.slice(at, base.prompt.indexOf('>', at) + 1);
  return { field: 'prompt', find, append: at < 0, values: numbers(weights.join(','), t('the_weight_of_a_lora')).map(tag) };
}

/* ---- a new one ---- */

function readAxes() {
  const axes = [...$('axes').children].map((row) => {
    const kind = row.querySelector('select').value, text = row.querySelector('input').value;
    const made = kind && KINDS[kind][3](text, KINDS[kind][0]);
    return Array.isArray(made) ? { field: kind, values: made } : made;
  }).filter(Boolean);
  if (!axes.length)
    throw new Error(t('choose_what_shall_be_different'));
  for (const { field, values } of axes)
    if (!values.length)
      throw new Error(t('write_what_it_shall_be', { name: labelOf({ field }) }));
  if (new Set(axes.map(({ field, find }) => `${field} ${find}`)).size < axes.length)
    throw new Error(t('one_setting_can_be_swept'));
  return axes;
}

/* How many pictures it comes to, as it is written. */
function count() {
  try {
    const axes = readAxes(), cells = axes.reduce((product, { values }) => product * values.length, 1);
    setText($('experiment-count'), `${axes.map(({ values }) => values.length).join(' × ')} = ${t('pictures', { n: cells })}${
      cells > MOST ? t('at_most', { n: MOST }) : ''}`);
    setText($('experiment-error'), '');
  } catch (error) {
    setText($('experiment-count'), error.message);
  }
}

function makeAxis(_, i) {
  const input = h('input', { id: `axis-${i}`, autocomplete: 'off', spellcheck: 'false', oninput: count,
    'aria-label': t('values_n', { n: i + 1 }) });
  const select = h('select', { 'aria-label': t('different_n', { n: i + 1 }), onchange: () => {
    const [, wanted, example] = KINDS[select.value] ?? [];
    input.disabled = !wanted;
    input.placeholder = wanted ? `${wanted}${example && `: ${example}`}` : '';
    count();
  } }, h('option', { value: '' }, i ? t('nothing_more') : t('choose_one')), ...Object.entries(KINDS).map(([kind, [label]]) =>
    h('option', { value: kind }, label)));
  input.disabled = true;
  return h('div', { class: 'axis' }, select, input);
}

/* What is under Paint now, with one seed for all. */
async function readBase() {
  const body = await painter.whole();
  delete body.preview_every;
  delete body.count;
  body.seed ??= Math.floor(Math.random() * SEEDS);
  if (!body.prompt.trim() && !body.init_image)
    body.prompt = $('prompt').placeholder; /* the idea that is shown, as Paint has it */
  base = body;
  setText($('experiment-base'), t('all_else', { prompt: body.prompt || t('no_words'), size: `${body.width} × ${body.height}`,
    steps: t('steps_of', { n: body.steps }), sampler: body.sampler, seed: String(body.seed) }));
}

async function start(event) {
  event.preventDefault();
  try {
    const axes = readAxes();
    const name = $('experiment-name').value.trim() || axes.map(labelOf).join(' × ');
    const more = axes.filter(({ append }) => append).map(({ find }) => ` ${find}`).join('');
    const made = await post('api/experiments', { name, base: { ...base, prompt: base.prompt + more },
      axes: axes.map(({ append, ...axis }) => axis) });
    toast(t('n_in_queue', { n: made.cells.length }));
    await look(made.id);
  } catch (error) {
    setText($('experiment-error'), plainWords(error.message));
  }
}

function makeForm() {
  return h('form', { id: 'experiment-form', class: 'experiment-form', novalidate: true, 'aria-label': t('a_new_experiment'), onsubmit: start },
    h('h3', {}, t('a_new_one')),
    h('p', { id: 'experiment-base', class: 'now' }),
    h('div', { class: 'field' }, h('label', { for: 'experiment-name' }, t('name'), ' ', h('small', {}, t('if_it_shall_have_one'))),
      h('input', { id: 'experiment-name', maxlength: 100, autocomplete: 'off' })),
    h('fieldset', {}, h('legend', {}, t('what_is_different'), ' ', h('small', {}, t('with_commas_between_1_5'))),
      h('div', { id: 'axes', class: 'axes' }, ...Array.from({ length: AXES }, makeAxis))),
    h('p', { id: 'experiment-count', class: 'now', role: 'status' }),
    h('p', { id: 'experiment-error', class: 'error', role: 'alert' }),
    h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, icon('brush'), t('paint_them_all'))));
}

/* ---- the list ---- */

const labelOf = ({ field, find }) => (find ? find.replace(/^<lora:(.*):.*>$/, '$1')
  : KINDS[field]?.[0] ?? field.replaceAll('_', ' '));

function makeItem({ id, name, axes, cells, created_at: at }) {
  const size = axes.map(({ values }) => values.length).join(' × ');
  return h('li', { class: 'experiment', 'data-experiment': id },
    h('button', { class: 'quiet', onclick: () => look(id).catch(complain) }, name),
    h('p', { class: 'now' }, `${axes.length > 1 ? `${size} = ` : ''}${t('pictures', { n: cells })} · ${momentText(at)}`));
}

async function list() {
  closeGrid();
  $('experiment-one').hidden = true;
  $('experiments-about').hidden = false;
  $('experiment-all').hidden = false;
  const { experiments } = await get('api/experiments');
  $('experiments').replaceChildren(...experiments.map(makeItem));
  $('no-experiments').hidden = experiments.length > 0;
}

async function look(id) {
  $('experiment-all').hidden = $('experiments-about').hidden = true;
  $('experiment-one').hidden = false;
  await openGrid($('experiment-one'), id, {
    labelOf, back: () => list().catch(complain),
    again: async () => look((await post(`api/experiments/${id}/rerun`)).id),
    drop: async () => {
      await remove(`api/experiments/${id}`);
      await list();
    },
  });
}

function make() {
  part.append(h('p', { id: 'experiments-about', class: 'lead' }, t('the_same_picture_many_times')),
    h('div', { id: 'experiment-all', class: 'experiment-all' }, makeForm(),
      h('div', {}, h('h3', {}, t('done_so_far')), h('p', { id: 'no-experiments', class: 'now', hidden: true }, t('none_yet')),
        h('ol', { id: 'experiments', class: 'experiment-list' }))),
    h('div', { id: 'experiment-one', hidden: true }));
}

export async function open(section) {
  if (!part) {
    part = section;
    make();
    store.addEventListener('ready', () => part.hidden || readBase().then(count, complain));
  }
  if (store.info) {
    await readBase();
    count();
  }
  await list();
}

export const close = closeGrid;
