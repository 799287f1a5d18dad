/* experiments.js: sweeps over one to three settings, kept by the server with all that went in: a list,
 * a form for a new one, and experiment_grid.js for one that is looked at. */
import { get, post, remove } from '../api.js';
import { $, complain, h, icon, plainWords, setText, toast } from '../dom.js';
import { painter } from '../form.js';
import { store } from '../store.js';
import { open as openGrid, close as closeGrid } from './experiment_grid.js';

const AXES = 3, MOST = 200, SEEDS = 2 ** 32;
const numbers = (text, name) => valuesOf(text).map((each) => {
  const number = Number(each);
  if (!Number.isFinite(number))
    throw new Error(`${name}: “${each}” is no number`);
  return number;
});
const words = (text) => valuesOf(text);
/* kind: [label, what to write, an example, values of the field or the axis]. */
const KINDS = {
  steps: ['Steps', 'numbers', '5, 10, 20', numbers],
  guidance: ['Guidance', 'numbers', '2, 4, 7', numbers],
  seed: ['Seed', 'whole numbers', '1..4', numbers],
  sampler: ['Sampler', 'names', 'Euler a, DPM++ 2M, UniPC', words],
  scheduler: ['Schedule', 'names', 'uniform, karras', words],
  model: ['Model', 'names', '', words],
  clip_skip: ['Clip skip', 'whole numbers', '1, 2', numbers],
  eta: ['Eta', 'numbers', '0, 0.5, 1', numbers],
  prompt: ['Words of the prompt', 'a word of the prompt, then what stands for it', 'red, blue, green', promptAxis],
  lora: ['Weight of a LoRA', 'its name, then weights', 'ink, 0, 0.5, 1', loraAxis],
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
      throw new Error(`“${each}” is no range such as 1..5 or 0..1 by 0.25`);
    return Array.from({ length: Math.floor((to - from) / by + 1e-9) + 1 }, (_, i) =>
      String(Math.round((from + i * by) * 1e6) / 1e6));
  });
}

/* An axis that puts each of `values` in the place of `find`, which has to be in the prompt. */
function promptAxis(text) {
  const values = valuesOf(text), [find] = values;
  if (!find || !base.prompt.includes(find))
    throw new Error(`The prompt has no “${find ?? ''}”: it is “${base.prompt}”`);
  return { field: 'prompt', find, values };
}

/* The tag that the prompt has, or gets at its end. */
function loraAxis(text) {
  const [name, ...weights] = valuesOf(text);
  if (!name || /[:<>]/.test(name))
    throw new Error('Write the name of the LoRA, then its weights');
  const tag = (weight) => `<lora:${name}:${weight}>`;
  const at = base.prompt.indexOf(`<lora:${name}:`);
  const find = at < 0 ? tag(1) : base.prompt.slice(at, base.prompt.indexOf('>', at) + 1);
  return { field: 'prompt', find, append: at < 0, values: numbers(weights.join(','), 'The weight of a LoRA').map(tag) };
}

/* ---- a new one ---- */

function readAxes() {
  const axes = [...$('axes').children].map((row) => {
    const kind = row.querySelector('select').value, text = row.querySelector('input').value;
    const made = kind && KINDS[kind][3](text, KINDS[kind][0]);
    return Array.isArray(made) ? { field: kind, values: made } : made;
  }).filter(Boolean);
  if (!axes.length)
    throw new Error('Choose what shall be different from picture to picture');
  for (const { field, values } of axes)
    if (!values.length)
      throw new Error(`${field}: write what it shall be, with commas between`);
  if (new Set(axes.map(({ field, find }) => `${field} ${find}`)).size < axes.length)
    throw new Error('One setting can be swept over once');
  return axes;
}

/* How many pictures it comes to, as it is written. */
function count() {
  try {
    const axes = readAxes(), cells = axes.reduce((product, { values }) => product * values.length, 1);
    setText($('experiment-count'), `${axes.map(({ values }) => values.length).join(' × ')} = ${cells} pictures${
      cells > MOST ? `, ${MOST} at most` : ''}`);
    setText($('experiment-error'), '');
  } catch (error) {
    setText($('experiment-count'), error.message);
  }
}

function makeAxis(_, i) {
  const input = h('input', { id: `axis-${i}`, autocomplete: 'off', spellcheck: 'false', oninput: count,
    'aria-label': `Values ${i + 1}` });
  const select = h('select', { 'aria-label': `What is different ${i + 1}`, onchange: () => {
    const [, wanted, example] = KINDS[select.value] ?? [];
    input.disabled = !wanted;
    input.placeholder = wanted ? `${wanted}${example && `: ${example}`}` : '';
    count();
  } }, h('option', { value: '' }, i ? 'nothing more' : 'choose'), ...Object.entries(KINDS).map(([kind, [label]]) =>
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
  base = body;
  setText($('experiment-base'), `All else is as under Paint: “${body.prompt || 'no words'}”, ${body.width} × ${body.height}, ${
    body.steps} steps, ${body.sampler}, seed ${body.seed}.`);
}

async function start(event) {
  event.preventDefault();
  try {
    const axes = readAxes();
    const name = $('experiment-name').value.trim() || axes.map(labelOf).join(' × ');
    const more = axes.filter(({ append }) => append).map(({ find }) => ` ${find}`).join('');
    const made = await post('api/experiments', { name, base: { ...base, prompt: base.prompt + more },
      axes: axes.map(({ append, ...axis }) => axis) });
    toast(`${made.cells.length} pictures are in the queue`);
    await look(made.id);
  } catch (error) {
    setText($('experiment-error'), plainWords(error.message));
  }
}

function makeForm() {
  return h('form', { id: 'experiment-form', class: 'experiment-form', novalidate: true, 'aria-label': 'A new experiment', onsubmit: start },
    h('h3', {}, 'A new one'),
    h('p', { id: 'experiment-base', class: 'now' }),
    h('div', { class: 'field' }, h('label', { for: 'experiment-name' }, 'Name ', h('small', {}, 'if it shall have one')),
      h('input', { id: 'experiment-name', maxlength: 100, autocomplete: 'off' })),
    h('fieldset', {}, h('legend', {}, 'What is different ', h('small', {}, 'with commas between; 1..5 is 1, 2, 3, 4, 5')),
      h('div', { id: 'axes', class: 'axes' }, ...Array.from({ length: AXES }, makeAxis))),
    h('p', { id: 'experiment-count', class: 'now', role: 'status' }),
    h('p', { id: 'experiment-error', class: 'error', role: 'alert' }),
    h('div', { class: 'tools' }, h('button', { class: 'paint', type: 'submit' }, icon('brush'), 'Paint them all')));
}

/* ---- the list ---- */

const labelOf = ({ field, find }) => (find ? find.replace(/^<lora:(.*):.*>$/, '$1')
  : KINDS[field]?.[0] ?? field.replaceAll('_', ' '));

function makeItem({ id, name, axes, cells, created_at: at }) {
  const size = axes.map(({ values }) => values.length).join(' × ');
  return h('li', { class: 'experiment', 'data-experiment': id },
    h('button', { class: 'quiet', onclick: () => look(id).catch(complain) }, name),
    h('p', { class: 'now' }, `${axes.length > 1 ? `${size} = ` : ''}${cells} pictures · ${new Date(at).toLocaleString()}`));
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
  part.append(h('p', { id: 'experiments-about', class: 'lead' }, 'The same picture many times over, with one to three settings different: to see what they do.'),
    h('div', { id: 'experiment-all', class: 'experiment-all' }, makeForm(),
      h('div', {}, h('h3', {}, 'Done so far'), h('p', { id: 'no-experiments', class: 'now', hidden: true }, 'None yet.'),
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
