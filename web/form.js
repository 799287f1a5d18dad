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
const WORDS = ['model', 'sampler', 'scheduler', 'format', 'fit', 'fill'];
const KEPT = [...TEXTS, ...NUMBERS, ...WORDS, 'count', 'enlarge', 'seed'];

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

/* A size of this shape with the area that the model likes best. */
function sidesOf(across, down) {
  const scale = Math.sqrt(model().width * model().height / (across * down));
  return [round8(across * scale), round8(down * scale)];
}

/* ---- lists ---- */

function options(select, list) {
  const { value } = select;
  select.replaceChildren(...list.map(([name, label]) => h('option', { value: name }, label)));
  if (has(select, value))
    select.value = value;
}

const has = (select, value) => [...select.options].some((option) => option.value === value);

/* Chooses a value even if the list has not heard of it: another server's sampler, say. */
function choose(select, value) {
  if (!has(select, value))
    select.append(h('option', { value }, value));
  select.value = value;
}

function fillLists({ samplers, schedulers, limits }) {
  options($('model'), store.models.map(({ name, title, kind }) =>
    [name, kind === 'upstream' ? `${title} (elsewhere)` : title]));
  options($('sampler'), samplers.map(({ name }) => [name, name]));
  options($('scheduler'), schedulers.map(({ name, label }) => [name, label]));
  options($('count'), Array.from({ length: limits.max_count }, (_, i) =>
    [i + 1, i ? `${i + 1} pictures` : '1 picture']));
  $('width').max = $('height').max = limits.max_side;
  $('steps').max = limits.max_steps;
}

function fillShapes() {
  $('shapes').replaceChildren(...SHAPES.map(([name, across, down]) => {
    const [w, tall] = sidesOf(across, down);
    const shape = h('span', { class: 'shape', 'aria-hidden': 'true' });
    shape.style.aspectRatio = `${across} / ${down}`;
    return h('label', {}, h('input', { type: 'radio', name: 'shape', value: `${w}x${tall}` }),
      shape, h('span', {}, name), h('small', {}, `${w} × ${tall}`));
  }));
}

/* ---- what follows from the fields ---- */

function refresh() {
  const size = `${$('width').value}x${$('height').value}`;
  for (const radio of form.querySelectorAll('input[name=shape]'))
    radio.checked = radio.value === size;
  for (const range of form.querySelectorAll('[data-for]'))
    range.value = $(range.dataset.for).value;
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
    return h('button', { class: 'chip', onclick: drop,
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
  if (!filled)
    return; /* or it would forget what is not shown yet */
  const fields = Object.fromEntries(KEPT.map((name) => [name, $(name).value]));
  try {
    localStorage.setItem(STORED, JSON.stringify({ version: VERSION, fields, extras }));
  } catch { /* private browsing: forgotten, then */ }
}

function restore() {
  try {
    const saved = JSON.parse(localStorage.getItem(STORED));
    if (saved?.version !== VERSION)
      return;
    for (const name of KEPT) {
      const value = saved.fields[name], field = $(name);
      if (TEXTS.includes(name) && field.value)
        continue; /* written already */
      if (typeof value === 'string' && (!field.options || has(field, value)))
        field.value = value;
    }
    for (const name of Object.keys(EXTRAS))
      if (saved.extras?.[name] != null)
        extras[name] = saved.extras[name];
  } catch { /* not ours, or broken: the defaults are fine */ }
}

function useModel() {
  for (const name of ['width', 'height', 'steps', 'guidance'])
    $(name).value = model()[name];
  fillShapes();
}

function useDefaults() {
  for (const name of ['sampler', 'scheduler'])
    choose($(name), store.info.defaults[name]);
  $('enlarge').value = $('seed').value = '';
  $('format').value = 'png';
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
  field.closest('details')?.setAttribute('open', '');
  const control = field.querySelector('input:not([type=range]), textarea, select, canvas');
  control.setAttribute('aria-invalid', 'true');
  control.setAttribute('aria-describedby', id);
  control.focus();
  announce(text, true);
}

/* ---- asking ---- */

const blame = (param, message) => Object.assign(new Error(message), { param });

function numberOf(name) {
  const { validity, value } = $(name);
  if (validity.badInput)
    throw blame(name, `${name} must be a number`);
  return value === '' ? undefined : Number(value);
}

function seedOf() {
  const text = $('seed').value.trim();
  if (text === '' || text === '-1')
    return undefined;
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw blame('seed', `seed must be a whole number of 0..${Number.MAX_SAFE_INTEGER}`);
  return Number(text);
}

async function request() {
  const body = { seed: seedOf(), count: Number($('count').value) || 1, preview_every: 1 };
  for (const name of TEXTS)
    body[name] = $(name).value.trim();
  for (const name of ['width', 'height', 'steps', 'guidance'])
    body[name] = numberOf(name);
  for (const name of ['model', 'sampler', 'scheduler', 'format'])
    body[name] = $(name).value || undefined;
  for (const side of $('enlarge').value ? ['width', 'height'] : [])
    body[`hires_${side}`] = round8(body[side] * $('enlarge').value);
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
    const { position } = await store.submit(await request());
    announce(position > 0 ? `In the queue, ${position} before it` : 'In the queue');
  } catch (error) {
    if (!error.param && error.status === undefined)
      console.error(error);
    showError(error);
    if (error.status === 401)
      store.reconnect(); /* which asks for a key that is good */
  }
}

/* ---- taking settings over ---- */

/* `params` as in docs/api.md; what it does not name gets its default. */
function apply(params) {
  if (params.model)
    choose($('model'), params.model);
  useDefaults();
  $('negative_prompt').value = '';
  $('count').value = '1';
  for (const name of [...TEXTS, ...NUMBERS, 'seed'])
    if (params[name] != null)
      $(name).value = params[name];
  for (const name of WORDS)
    if (params[name] != null)
      choose($(name), params[name]);
  if (params.hires_width > 0)
    choose($('enlarge'), String(params.hires_width / params.width));
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
      strength: 0.75, fit: 'crop', hires_width: 0, mask_invert: false });
    $('source').scrollIntoView({ block: 'nearest' });
  },

  useInfotext(text) {
    if (!store.info)
      return;
    apply(paramsOf(text, store.info, store.models));
    toast('Settings taken from the picture');
  },
};

function matchShape({ width, height }) {
  [$('width').value, $('height').value] = sidesOf(width, height);
  changed();
}

store.addEventListener('ready', () => {
  fillLists(store.info);
  if (!filled) {
    filled = true;
    $('model').value = (store.models.find((each) => each.default) ?? model()).name;
    useDefaults();
    restore();
    $('ideas').replaceChildren(...store.info.examples.map((words) => h('button', {
      class: 'chip', onclick: () => {
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
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.repeat) {
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
  const latest = store.history().find((job) => job.images.length > 0);
  if (latest) {
    $('seed').value = latest.images.at(-1).seed;
    changed();
  } else {
    toast('There is no picture yet');
  }
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
