/* form.js: what to paint. The server says which fields there are (docs/api.md); those that the form
 * has a control for bear its name. A field that is left empty is left out, so the model's or the
 * server's default holds. The server checks, and says which field is to blame; its words are shown
 * there. What was set is remembered in this browser. */
import { $, announce, complain, fieldName, h, plainWords, setText, toast } from './dom.js';
import { source } from './source.js';
import { store } from './store.js';
import { serverWords, t } from './text.js';
import { later, opens } from './views.js';

const STORED = 'pictor.settings', OWN = 'pictor.models', VERSION = 1;
export const SHAPES = [[t('square'), 1, 1], [t('portrait'), 3, 4], [t('landscape'), 4, 3], [t('wide'), 16, 9]];

const form = $('form');

/* Settings without a control of their own: kept when they come with a picture, shown as chips. */
let extras = {}, filled = false;
let styles = new Set(); /* names */
let away = false; /* the error that is shown is that nobody answers */
let leaders = () => [], expert = null; /* of later/leaders.js; later/expert.js */

/* What says the `controls` of a request. */
export const leadBy = (run) => { leaders = run; };

const controlOf = (name) => form.elements.namedItem(name);
const isText = (name) => controlOf(name)?.localName === 'textarea';
const isNumber = (name) => ['integer', 'number'].includes(store.fields[name].type);
const isSeed = (name) => Array.isArray(store.fields[name].type); /* a number or text */

/* The fields that have a control, in the server's order. */
const controlled = () => Object.keys(store.fields).filter(controlOf);

/* The fields that say how a picture is made. */
const settings = () => Object.keys(store.fields).filter((name) =>
  store.fields[name]['x-about'] === 'picture');

/* Whether a field says anything of a picture made so. */
const PARTS = {
  all: () => true,
  variation: (params) => params.subseed_strength > 0,
  init: (params) => params.has_init !== false,
  mask: (params) => params.has_mask !== false,
  area: (params) => params.has_mask !== false && params.mask_only_area,
  hires: (params) => params.hires_width > 0,
  low: (params) => params.guidance_low > 0,
  refiner: (params) => Boolean(params.refiner),
};
const applies = (name, params) => (PARTS[store.fields[name]['x-part']] ?? PARTS.all)(params);

/* What holds when the field is left out. */
const usual = (name) => (store.fields[name]['x-of-model'] ? model()[name]
  : store.fields[name].default) ?? '';

const model = () => store.models.find((each) => each.name === $('model').value) ?? store.models[0];
export const round8 = (value) => Math.max(64, Math.round(value / 8) * 8);

/* A size of this shape with the area that the model likes best. */
export function sidesOf(across, down, { width, height } = model()) {
  const scale = Math.sqrt(width * height / (across * down));
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

function put(control, value) {
  if (control.type === 'checkbox')
    control.checked = value === true;
  else if (control.options)
    choose(control, String(value));
  else
    control.value = value;
}

/* One that cannot be painted with can be chosen: what it is asked for says why. */
function fillModels() {
  options($('model'), store.models.map(({ name, title, kind, problem }) =>
    [name, problem ? t('see_models', { title }) : kind === 'upstream' ? t('elsewhere', { title }) : title]));
  options($('refiner'), [['', t('none')], ...store.models.filter(({ kind, problem }) =>
    kind !== 'upstream' && !problem).map(({ name, title }) => [name, title])]);
}

function fillLists({ samplers, schedulers, limits }) {
  fillModels();
  options($('sampler'), samplers.map(({ name }) => [name, name]));
  options($('scheduler'), schedulers.map(({ name, label }) => [name, label]));
  options($('hires_upscaler'), (store.fields.hires_upscaler.examples ?? []).map((name) =>
    [name, name]));
  options($('count'), Array.from({ length: limits.max_count }, (_, i) =>
    [i + 1, t('pictures', { n: i + 1 })]));
  fillStyles();
  fillExpert();
  for (const name of controlled()) {
    const control = controlOf(name), { minimum, maximum, enum: words = [] } = store.fields[name];
    if (control.type === 'number')
      Object.assign(control, { min: minimum ?? '', max: maximum ?? '' });
    for (const word of control.options ? words : [])
      if (!has(control, word))
        control.append(h('option', { value: word }, word));
  }
}

function fillExpert() {
  expert?.fill(store.fields, settings().filter((name) => !controlOf(name) &&
    name !== 'hires_width' && name !== 'hires_height'), (name, value) => {
    if (value === undefined)
      delete extras[name];
    else
      extras[name] = value;
    changed();
  });
}

async function openExpert() {
  if (expert)
    return;
  expert = await later('expert');
  fillExpert();
  expert.show(extras);
}

function fillStyles() {
  $('styles-field').hidden = store.info.styles.length === 0;
  styles = new Set([...styles].filter((name) => store.info.styles.includes(name)));
  $('styles').replaceChildren(...store.info.styles.map((name) => {
    const chip = h('button', { class: 'chip', 'aria-pressed': String(styles.has(name)),
      onclick: () => {
        if (!styles.delete(name))
          styles.add(name);
        chip.setAttribute('aria-pressed', String(styles.has(name)));
        changed();
      } }, name);
    return chip;
  }));
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
    !preset && size !== 'x' && size.replace('x', ' × '), t('steps_of', { n: Number($('steps').value) }),
    $('sampler').value, $('seed').value && t('seed_is', { seed: $('seed').value }),
  ].filter(Boolean).join(' · '));
  setText($('additions-summary'), [...styles].join(', '));
  $('seed-random').setAttribute('aria-pressed', String($('seed').value === ''));
  $('refiner-at-field').hidden = !$('refiner').value;
  source.editsBy(model()?.edits ?? 0).catch(complain);
  showExtras();
  expert?.show(extras);
  showIdeas();
}

function showExtras() {
  $('extras').hidden = Object.keys(extras).length === 0;
  $('extras').replaceChildren(...Object.entries(extras).map(([name, value]) => {
    const drop = () => {
      delete extras[name];
      if (name === 'hires_width' || name === 'hires_height') /* one is nothing without the other */
        delete extras.hires_width, delete extras.hires_height;
      changed();
      $('settings').querySelector('summary').focus();
    };
    const text = name === 'controls' ? t('led_by_nets', { nets: value.map((net) => net.model).join(', ') })
      : `${name.replaceAll('_', ' ')} ${value}`;
    return h('button', { class: 'chip', onclick: drop, 'aria-label': t('remove_what', { what: text }) }, `${text} ×`);
  }));
}

function showIdeas() {
  $('recall').hidden = store.history().length === 0;
  $('ideas').hidden = $('prompt').value !== '' || store.history().length === 0;
}

function changed() {
  refresh();
  save();
}

/* ---- remembering ---- */

const kept = () => [...controlled(), 'enlarge'].filter((name) =>
  controlOf(name).type !== 'checkbox');

/* What this browser keeps: of this page, and of a preset. */
const state = () => ({ version: VERSION, fields: Object.fromEntries(kept().map((name) => [name, controlOf(name).value])),
  extras: { ...extras }, styles: [...styles] });

function keep(where, what) {
  try {
    localStorage.setItem(where, JSON.stringify(what));
  } catch { /* private browsing: forgotten, then */ }
}

function keptAs(where) {
  try {
    return JSON.parse(localStorage.getItem(where)) ?? {};
  } catch { /* not ours, or broken: the defaults are fine */
    return {};
  }
}

function save() {
  if (filled) /* or it would forget what is not shown yet */
    keep(STORED, state());
}

/* Of another version nothing is taken. `stays` says of a field whether what it has does. */
function useState(saved, stays) {
  if (saved?.version !== VERSION)
    return;
  for (const name of kept()) {
    const value = saved.fields[name], field = controlOf(name);
    if (!stays(name) && typeof value === 'string' && (!field.options || has(field, value)))
      field.value = value;
  }
  styles = new Set(saved.styles ?? []);
  fillStyles();
  extras = {};
  for (const name of [...settings(), 'controls'])
    if (saved.extras?.[name] != null)
      extras[name] = saved.extras[name];
}

function setUsual(which) {
  for (const name of controlled().filter(which))
    put(controlOf(name), usual(name));
}

const ofModel = () => controlled().filter((name) => store.fields[name]['x-of-model']);

/* `asMade`: by its file, whatever is kept here for it. */
function useModel(asMade = false) {
  const own = !asMade && keptAs(OWN)[model().name] || {};
  for (const name of ofModel())
    put(controlOf(name), own[name] ?? usual(name));
  for (const name of ['sampler', 'scheduler'])
    if (own[name])
      choose($(name), own[name]);
  $('strength').value = model().edits ? 1 : usual('strength');
  fillShapes();
}

/* All but what to paint, on what, and by which model. */
function useDefaults(asMade = false) {
  setUsual((name) => store.fields[name]['x-part'] === 'all' && !isText(name) && name !== 'model' &&
    store.fields[name]['x-about'] === 'picture');
  $('enlarge').value = '';
  put($('hires_upscaler'), usual('hires_upscaler'));
  extras = {};
  styles.clear();
  fillStyles();
  put($('refiner'), usual('refiner'));
  put($('refiner_at'), usual('refiner_at'));
  useModel(asMade);
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

async function showError({ message, param, status, retryAfter }) {
  await serverWords();
  let text = plainWords(message);
  away = status === 0;
  if (status === 0)
    text = t('no_answer_kept');
  else if (status === 429 && retryAfter)
    text = t('try_again_in', { text, n: retryAfter });
  const name = param === 'hires_height' ? 'hires_width' : param;
  if (store.fields[name]?.['x-about'] === 'picture' && !controlOf(name))
    await openExpert().catch(() => {});
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
  field.lastElementChild.scrollIntoView({ block: 'nearest' });
  announce(text, true);
}

/* ---- asking ---- */

const blame = (param, message) => Object.assign(new Error(message), { param });

/* What a control holds, as the field wants it; undefined: it is left out. */
function valueOf(name) {
  const { type, checked, validity, value } = controlOf(name);
  const text = value.trim();
  if (type === 'checkbox')
    return checked;
  if (isSeed(name)) {
    const { maximum } = store.fields[name];
    if (text === '' || text === '-1')
      return undefined;
    if (!/^\d+$/.test(text) || BigInt(text) > BigInt(maximum))
      throw blame(name, t('whole_number', { name: fieldName(name), most: String(maximum) }));
    return text;
  }
  if (!isNumber(name))
    return isText(name) ? text : text || undefined;
  if (validity.badInput)
    throw blame(name, t('a_number', { name: fieldName(name) }));
  return text === '' ? undefined : Number(text);
}

async function request() {
  const body = { preview_every: 1 }, pictures = await source.fields();
  const made = { has_init: Boolean(pictures.init_image),
    has_mask: Boolean(pictures.mask || pictures.extend), mask_only_area: true,
    refiner: $('refiner').value, hires_width: $('enlarge').value || (extras.hires_width ?? 0) };
  for (const name of controlled())
    if (applies(name, made))
      body[name] = valueOf(name);
  for (const side of $('enlarge').value ? ['width', 'height'] : [])
    body[`hires_${side}`] = round8(body[side] * $('enlarge').value);
  Object.assign(body, extras, pictures);
  const led = [...extras.controls ?? [], ...leaders()];
  if (led.length)
    body.controls = led;
  if (styles.size)
    body.styles = [...styles];
  if (pictures.extend) { /* which says the size */
    if (body.hires_width)
      throw blame('hires_width', t('paint_beyond_the_edges_first'));
    delete body.width;
    delete body.height;
    delete body.mask_only_area;
  }
  return body;
}

/* Where the picture is painted is looked at. */
function showQueue() {
  requestAnimationFrame(() => {
    const { top, bottom } = $('queue').getBoundingClientRect();
    if (!$('queue').hidden && (top < 0 || top > innerHeight - 240))
      $('queue').scrollIntoView({ block: bottom - top < innerHeight - 80 ? 'center' : 'start' });
  });
}

/* Never waits for an earlier one: what comes while another is painted joins the queue. */
async function paint() {
  clearErrors();
  if (!$('prompt').value.trim() && !source.present) {
    $('prompt').value = $('prompt').placeholder; /* the idea that is shown */
    changed();
  }
  try {
    const { position } = await store.submit(await request());
    announce(position > 0 ? t('in_queue_behind', { n: position }) : t('in_queue'));
    showQueue();
  } catch (error) {
    if (!error.param && error.status === undefined)
      console.error(error);
    showError(error);
    if (error.status === 401)
      store.reconnect(); /* which asks for a key that is good */
  }
}

/* ---- taking settings over ---- */

/* The second pass as a factor, if it is one. */
function factorOf({ width, height, hires_width: across, hires_height: down }) {
  const factor = across / width;
  return round8(width * factor) === across && round8(height * factor) === down ? factor : null;
}

/* `params` as in docs/api.md; what it does not name gets its default. */
function apply(params) {
  if (params.model)
    choose($('model'), params.model);
  useDefaults(true);
  $('negative_prompt').value = '';
  $('count').value = '1';
  for (const name of settings().filter((each) => params[each] != null && applies(each, params))) {
    if (controlOf(name))
      put(controlOf(name), params[name]);
    else if (params[name] !== usual(name))
      extras[name] = params[name];
  }
  const factor = extras.hires_width && factorOf(params);
  if (factor) {
    choose($('enlarge'), String(factor));
    delete extras.hires_width;
    delete extras.hires_height;
  }
  const nets = params.controls ?? [], lost = nets.filter(({ image }) => !image);
  if (nets.length > lost.length)
    extras.controls = nets.filter(({ image }) => image);
  if (lost.length) /* whose pictures are not among the settings */
    toast(t('not_taken_over', { what: lost.map(({ model: name, preprocessor }) =>
      `ControlNet ${name} (${preprocessor})`).join(', ') }));
  clearErrors();
  changed();
  form.scrollIntoView({ block: 'start' });
  $('prompt').focus({ preventScroll: true });
}

function bodyOf(params) {
  const body = {};
  for (const name of settings())
    if (params[name] != null && applies(name, params) && (controlOf(name) ||
      params[name] !== usual(name)))
      body[name] = params[name];
  return body;
}

/* Neither its pictures nor what is done after it, and another seed. */
const ALONE = { has_init: false, has_mask: false, hires_width: 0, hires_height: 0, refiner: '',
  subseed_strength: 0, seed: null, subseed: null };

export const painter = {
  apply,
  state,

  /* All settings of a preset; what to paint stays. */
  useState(saved) {
    useState(saved, (name) => name === 'prompt');
    fillShapes();
    changed();
  },

  keepsForModel: () => Boolean(keptAs(OWN)[model().name]),

  /* What is set now is what choosing the model sets; or what its file says, again. */
  keepForModel(on) {
    const { [model().name]: gone, ...all } = keptAs(OWN);
    if (on)
      all[model().name] = Object.fromEntries([...ofModel(), 'sampler', 'scheduler'].map((name) => [name, controlOf(name).value]));
    keep(OWN, all);
    return on;
  },

  /* How a picture is painted: as these settings say, or the form where they name no model. */
  alone(params = {}) {
    if (params.model)
      return bodyOf({ ...params, ...ALONE });
    const body = { ...extras, ...ALONE, controls: undefined };
    for (const name of controlled())
      if (applies(name, ALONE) && store.fields[name]['x-about'] === 'picture')
        body[name] = valueOf(name);
    for (const name of Object.keys(ALONE))
      delete body[name];
    return body;
  },

  exactly: bodyOf,

  /* The request that the form says. */
  whole: request,

  /* A picture with these settings, whatever the form says. */
  async paintParams(params) {
    const body = { preview_every: 1, ...bodyOf(params) };
    if (params.count)
      body.count = params.count;
    if (!(params.hires_width > 0))
      delete body.hires_width, delete body.hires_height;
    const job = await store.submit(body);
    showQueue();
    return job;
  },

  /* `words` without a model's other settings being touched. */
  paintWords(words) {
    $('prompt').value = words;
    changed();
    return paint();
  },

  async paintOver(blob, job, image) {
    if (!await source.set(blob))
      return;
    apply({ ...job.params, width: image.width, height: image.height, seed: null, has_init: true,
      strength: 0.75, fit: 'crop', hires_width: 0, mask_invert: false });
    $('source').scrollIntoView({ block: 'nearest' });
  },

  async useInfotext(text) {
    try {
      apply(await store.paramsOf(text));
      toast(t('settings_from_picture'));
    } catch (error) {
      complain(error);
    }
  },
};

function matchShape({ width, height }) {
  [$('width').value, $('height').value] = sidesOf(width, height);
  changed();
}

const LATER = { presets: opens('presets', (module) => module.open()), additions: opens('additions', (module) => module.open()) };

store.addEventListener('models', fillModels);
store.addEventListener('ready', () => {
  fillLists(store.info);
  if (!filled) {
    filled = true;
    $('model').value = (store.models.find((each) => each.default) ?? model()).name;
    useDefaults();
    useState(keptAs(STORED), (name) => isText(name) && controlOf(name).value); /* what is written already stays */
    if (store.info.examples.length)
      $('prompt').placeholder = store.info.examples[0];
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
store.addEventListener('connection', () => {
  if (store.state === 'online' && away) {
    away = false;
    setText($('form-error'), '');
  }
});

source.events.addEventListener('settings', ({ detail }) => painter.useInfotext(detail));
source.events.addEventListener('match', ({ detail }) => matchShape(detail));

for (const name of ['presets', 'additions'])
  $(name === 'presets' ? 'settings' : name).addEventListener('toggle', ({ target }) => target.open && LATER[name]());
$('expert').addEventListener('toggle', () => openExpert().catch(complain));
$('leaders').addEventListener('toggle', opens('leaders', (module) => module.ask()));
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
    toast(t('there_is_no_picture_yet'));
  }
});
$('reset').addEventListener('click', () => {
  useDefaults();
  changed();
  announce(t('back_to_the_models_settings'));
});
for (const range of form.querySelectorAll('[data-for]')) {
  range.tabIndex = -1; /* the number beside it is the keyboard's */
  range.setAttribute('aria-hidden', 'true');
}
setText($('paint-keys'), /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘ ⏎' : t('paint_keys'));
