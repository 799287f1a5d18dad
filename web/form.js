/* form.js: what to paint. Fields bear the names of docs/api.md; a field that is left empty is left
 * out, so the model's or the server's default holds. The server checks, and says which field is to
 * blame; its words are shown there. What was set is remembered in this browser. */
import { $, announce, h, setText, toast } from './dom.js';
import { paramsOf } from './infotext.js';
import { source } from './source.js';
import { store } from './store.js';

const STORED = 'pictor.settings', VERSION = 1;
const TEXTS = ['prompt', 'negative_prompt'];
const NUMBERS = ['width', 'height', 'steps', 'guidance', 'strength'];
const WORDS = ['model', 'sampler', 'scheduler', 'format', 'fit', 'fill', 'count', 'hires'];

/* Settings without a field of their own: kept when they come with a picture, shown as chips. */
const EXTRAS = {
  eta: null, rng: 'nv', clip_skip: 1, subseed: null, subseed_strength: 0, quality: 90,
  hires_steps: 0, hires_strength: 0.7, hires_upscaler: 'Latent', mask_blur: 4, mask_invert: false,
  mask_padding: 32,
};

const SHAPES = [['Square', 1, 1], ['Portrait', 3, 4], ['Landscape', 4, 3], ['Wide', 16, 9]];

const form = $('form');
let extras = {}, filled = false;

const model = () => store.models.find((each) => each.name === $('model').value) ?? store.models[0];
const round8 = (value) => Math.max(64, Math.round(value / 8) * 8);

/* ---- lists ---- */

function options(select, list) {
  const value = select.value;
  select.replaceChildren(...list.map(([name, label]) => h('option', { value: name }, label)));
  if (list.some(([name]) => String(name) === value))
    select.value = value;
}

/* Chooses a value even if the list has not heard of it: another server's sampler, say. */
function choose(select, value) {
  const text = String(value);
  if (![...select.options].some((option) => option.value === text))
    select.append(h('option', { value: text }, text));
  select.value = text;
}

function fillLists({ samplers, schedulers, limits }) {
  options($('model'), store.models.map(({ name, title, kind }) =>
    [name, kind === 'upstream' ? `${title} (elsewhere)` : title]));
  options($('sampler'), samplers.map(({ name }) => [name, name]));
  options($('scheduler'), [
    ...schedulers.some(({ name }) => name === 'automatic') ? [] : [['automatic', 'Automatic']],
    ...schedulers.map(({ name, label }) => [name, label]),
  ]);
  options($('count'), Array.from({ length: limits.max_count }, (_, i) =>
    [i + 1, i === 0 ? '1 picture' : `${i + 1} pictures`]));
  $('width').max = $('height').max = limits.max_side;
  $('steps').max = limits.max_steps;
}

function fillShapes() {
  const { width, height } = model();
  const scale = Math.sqrt(width * height);
  $('shapes').replaceChildren(...SHAPES.map(([name, across, down]) => {
    const side = Math.sqrt(across / down);
    const w = across === down ? round8(scale) : round8(scale * side);
    const tall = across === down ? round8(scale) : round8(scale / side);
    const shape = h('span', { class: 'shape', 'aria-hidden': 'true' });
    shape.style.aspectRatio = `${across} / ${down}`;
    return h('label', {}, h('input', { type: 'radio', name: 'shape', value: `${w}x${tall}` }),
      shape, h('span', {}, name), h('small', {}, `${w} × ${tall}`));
  }));
}

function fillHires() {
  const [width, height] = [Number($('width').value), Number($('height').value)];
  const times = (factor) => `${round8(width * factor)}x${round8(height * factor)}`;
  const factor = $('hires').selectedOptions[0]?.dataset.factor;
  options($('hires'), [['', 'no'],
    ...[1.5, 2].map((by) => [times(by), `${by}×, to ${times(by).replace('x', ' × ')}`])]);
  [1.5, 2].forEach((by, i) => { $('hires').options[i + 1].dataset.factor = by; });
  if (factor)
    $('hires').value = times(Number(factor));
}

/* ---- what follows from the fields ---- */

function refresh() {
  const size = `${$('width').value}x${$('height').value}`;
  for (const radio of form.querySelectorAll('input[name=shape]'))
    radio.checked = radio.value === size;
  for (const range of form.querySelectorAll('[data-for]'))
    range.value = $(range.dataset.for).value;
  fillHires();
  const preset = form.querySelector('input[name=shape]:checked');
  setText($('settings-summary'), [
    !preset && size !== 'x' && size.replace('x', ' × '), `${$('steps').value} steps`,
    $('sampler').value, $('seed').value && `seed ${$('seed').value}`,
  ].filter(Boolean).join(' · '));
  $('seed-random').setAttribute('aria-pressed', String($('seed').value === ''));
  showExtras();
  showIdeas();
}

function showExtras() {
  $('extras').hidden = Object.keys(extras).length === 0;
  $('extras').replaceChildren(...Object.entries(extras).map(([name, value]) => {
    const drop = () => {
      delete extras[name];
      changed();
      $('settings').querySelector('summary').focus();
    };
    return h('button', { type: 'button', class: 'chip', onclick: drop,
      'aria-label': `Remove ${name} ${value}` }, `${name.replaceAll('_', ' ')} ${value} ×`);
  }));
}

function showIdeas() {
  $('ideas').hidden = $('prompt').value !== '' || store.history().length === 0;
}

function changed() {
  refresh();
  save();
}

/* ---- remembering ---- */

function save() {
  const fields = {};
  for (const name of [...TEXTS, ...NUMBERS, ...WORDS, 'seed'])
    fields[name] = $(name).value;
  try {
    localStorage.setItem(STORED, JSON.stringify({ version: VERSION, fields, extras }));
  } catch { /* private browsing: forgotten, then */ }
}

function restore() {
  try {
    const saved = JSON.parse(localStorage.getItem(STORED));
    if (saved?.version !== VERSION)
      return;
    for (const [name, value] of Object.entries(saved.fields)) {
      const field = $(name);
      if (!field || typeof value !== 'string')
        continue;
      if (name === 'hires' && value)
        choose(field, value);
      else if (field.tagName !== 'SELECT' ||
           [...field.options].some((option) => option.value === value))
        field.value = value;
    }
    for (const name of Object.keys(EXTRAS))
      if (saved.extras?.[name] != null)
        extras[name] = saved.extras[name];
  } catch { /* not ours, or broken: the defaults are fine */ }
}

function useModel() {
  const { width, height, steps, guidance } = model();
  $('width').value = width;
  $('height').value = height;
  $('steps').value = steps;
  $('guidance').value = guidance;
  fillShapes();
}

function useDefaults() {
  const { sampler, scheduler } = store.info.defaults;
  choose($('sampler'), sampler);
  choose($('scheduler'), scheduler);
  $('hires').value = '';
  $('format').value = 'png';
  $('seed').value = '';
  extras = {};
  useModel();
}

/* ---- errors ---- */

function clearError(field) {
  field.querySelector('.error')?.remove();
  for (const control of field.querySelectorAll('[aria-invalid]')) {
    control.removeAttribute('aria-invalid');
    control.removeAttribute('aria-describedby');
  }
}

function clearErrors() {
  setText($('form-error'), '');
  for (const field of form.querySelectorAll('.field'))
    clearError(field);
}

function showError({ message, param, status, retryAfter }) {
  let text = message;
  if (status === 0)
    text = 'The server does not answer. What you wrote is kept; try again in a moment.';
  else if (status === 429 && retryAfter)
    text += `. Try again in ${retryAfter} s.`;
  const name = param === 'hires_height' ? 'hires_width' : param;
  const field = name && form.querySelector(`[data-param="${CSS.escape(name)}"]`);
  if (!field) {
    setText($('form-error'), text);
    return;
  }
  const id = `${name}-error`;
  field.append(h('p', { class: 'error', id }, text));
  for (let fold = field.closest('details'); fold; fold = fold.parentElement.closest('details'))
    fold.open = true;
  const control = field.querySelector('input:not([type=range]), textarea, select, canvas');
  control.setAttribute('aria-invalid', 'true');
  control.setAttribute('aria-describedby', id);
  control.focus();
  announce(text, true);
}

/* ---- asking ---- */

function numberOf(name) {
  const field = $(name);
  if (field.validity.badInput)
    throw Object.assign(new Error(`${name} must be a number`), { param: name });
  return field.value === '' ? undefined : Number(field.value);
}

function seedOf() {
  const text = $('seed').value.trim();
  if (text === '' || text === '-1')
    return undefined;
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw Object.assign(new Error(`seed must be a whole number of 0..${Number.MAX_SAFE_INTEGER}`),
      { param: 'seed' });
  return Number(text);
}

async function request() {
  const body = { seed: seedOf(), count: Number($('count').value), preview_every: 1 };
  for (const name of TEXTS)
    body[name] = $(name).value.trim();
  for (const name of ['width', 'height', 'steps', 'guidance'])
    body[name] = numberOf(name);
  for (const name of ['model', 'sampler', 'scheduler', 'format'])
    body[name] = $(name).value || undefined;
  if ($('hires').value)
    [body.hires_width, body.hires_height] = $('hires').value.split('x').map(Number);
  Object.assign(body, extras, await source.fields());
  if (body.init_image) {
    body.strength = numberOf('strength');
    body.fit = $('fit').value;
  }
  if (body.mask) {
    body.fill = $('fill').value;
    body.mask_only_area = $('mask_only_area').checked;
  }
  return body;
}

/* Never waits for an earlier one: what comes while another is painted joins the queue. */
async function paint() {
  clearErrors();
  try {
    const body = await request();
    const job = await store.submit(body);
    announce(job.position > 0 ? `In the queue, ${job.position} before it` : 'In the queue');
  } catch (error) {
    if (!error.param && error.status === undefined)
      console.error(error);
    showError(error);
  }
}

/* ---- taking settings over ---- */

/* `params` as in docs/api.md; what it does not name gets its default. */
function apply(params) {
  useDefaults();
  $('negative_prompt').value = '';
  $('count').value = '1';
  for (const name of [...TEXTS, ...NUMBERS, 'seed'])
    if (params[name] != null)
      $(name).value = params[name];
  for (const name of WORDS)
    if (params[name] != null && name !== 'count')
      choose($(name), params[name]);
  fillShapes();
  fillHires();
  if (params.hires_width > 0)
    choose($('hires'), `${params.hires_width}x${params.hires_height}`);
  for (const [name, usual] of Object.entries(EXTRAS))
    if (params[name] != null && params[name] !== usual)
      extras[name] = params[name];
  if (!(extras.subseed_strength > 0))
    delete extras.subseed;
  if (!params.hires_width)
    for (const name of ['hires_steps', 'hires_strength', 'hires_upscaler'])
      delete extras[name];
  clearErrors();
  changed();
  reveal();
}

function reveal() {
  form.scrollIntoView({ block: 'start' });
  $('prompt').focus({ preventScroll: true });
}

export const painter = {
  apply,

  /* `words` without a model's other settings being touched. */
  paintWords(words) {
    $('prompt').value = words;
    changed();
    return paint();
  },

  async paintOver(blob, job, image) {
    if (!await source.set(blob))
      return;
    apply({ ...job.params, width: image.width, height: image.height, seed: null,
      strength: 0.75, hires_width: 0, mask_invert: false });
    $('source').scrollIntoView({ block: 'nearest' });
  },

  useInfotext(text) {
    apply(paramsOf(text, store.info, store.models));
    toast('Settings taken from the picture');
  },
};

/* The size nearest to the model's own area in the shape of the picture. */
function matchShape({ width, height }) {
  const scale = Math.sqrt(model().width * model().height / (width * height));
  $('width').value = round8(width * scale);
  $('height').value = round8(height * scale);
  changed();
}

store.addEventListener('ready', () => {
  fillLists(store.info);
  if (!filled) {
    filled = true;
    const usual = store.models.find((each) => each.default);
    if (usual)
      $('model').value = usual.name;
    useDefaults();
    fillHires();
    restore();
    $('ideas').replaceChildren(...store.info.examples.map((words) => h('button', {
      type: 'button', class: 'chip', onclick: () => {
        $('prompt').value = words;
        changed();
        $('prompt').focus();
      },
    }, words)));
  }
  fillShapes();
  refresh();
});
store.addEventListener('change', showIdeas);

source.events.addEventListener('settings', ({ detail }) => painter.useInfotext(detail));
source.events.addEventListener('match', ({ detail }) => matchShape(detail));

form.addEventListener('submit', (event) => {
  event.preventDefault();
  paint();
});
form.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    paint();
  }
});
form.addEventListener('input', ({ target }) => {
  const field = target.closest('.field');
  if (field)
    clearError(field);
  if (target.name === 'shape')
    [$('width').value, $('height').value] = target.value.split('x');
  if (target.dataset.for)
    $(target.dataset.for).value = target.value;
  if (target.name === 'model')
    useModel();
  changed();
});
$('seed-random').addEventListener('click', () => {
  $('seed').value = '';
  clearError($('seed').closest('.field'));
  changed();
});
$('seed-keep').addEventListener('click', () => {
  const latest = store.latestSeed ?? store.history()[0]?.images.at(-1)?.seed;
  if (latest == null) {
    toast('There is no picture yet');
    return;
  }
  $('seed').value = latest;
  changed();
});
$('reset').addEventListener('click', () => {
  useDefaults();
  changed();
  announce("Back to the model's settings");
});
for (const range of form.querySelectorAll('[data-for]')) {
  range.tabIndex = -1; /* the number beside it is the keyboard's */
  range.setAttribute('aria-hidden', 'true');
}
setText($('paint-keys'), /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘ ⏎' : 'Ctrl ⏎');
