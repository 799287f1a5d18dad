/* models.js: which models, LoRAs and other files there are, with what lies beside them: a picture,
 * words that a LoRA wants in prompts, what its maker says; and what can be fetched (pulls.js). */
import { ApiError, get, post, showPicture } from '../api.js';
import { $, complain, h, icon, setText, toast } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';
import { close as closePulls, makePulls, open as openPulls } from './pulls.js';
import { sizeText } from './sizes.js';

export { closePulls as close };

const PAGE = 24, WAIT_MS = 250, LOAD_MS = 1000, LOADS = 120; /* after a letter of the search; while one is loaded */
const KINDS = [
  ['model', t('models'), t('what_paints_one_is_loaded')],
  ['lora', t('loras'), t('small_additions_that_teach')],
  ['vae', t('vaes'), t('what_turns_a_models_numbers')],
  ['embedding', t('embeddings'), t('words_that_a_model_learnt')],
  ['controlnet', t('controlnets'), t('what_keeps_a_painting')],
  ['upscaler', t('upscalers'), t('what_makes_pictures_larger')],
];
const FORMATS = {
  safetensors: ['safetensors', t('numbers_and_nothing_else')],
  gguf: [t('gguf'), t('numbers_and_nothing_else_packed')],
  pickle: ['pickle', t('a_format_that_can_carry')],
  folder: [t('a_folder'), t('a_folder_of_parts')],
  'built in': [t('built_in'), t('part_of_this_program')],
};
let part = null, kind = 'model', shown = 0, asked = 0, timer;

const query = () => $('files-query').value.trim();

async function ask(offset) {
  if (kind !== 'model')
    return get(`api/files?kind=${kind}&limit=${PAGE}&offset=${offset}&q=${encodeURIComponent(query())}`);
  const words = query().toLowerCase();
  const found = store.models.filter(({ name, title }) => `${name} ${title}`.toLowerCase().includes(words));
  return { files: found.slice(offset, offset + PAGE), count: found.length };
}

/* What is added to the prompt can be seen there. */
function addWords(words) {
  const prompt = $('prompt');
  prompt.value = `${prompt.value.trimEnd()}${words}`.replace(/^[, ]+/, '');
  prompt.dispatchEvent(new Event('input', { bubbles: true }));
  toast(t('added_to_the_prompt'), { action: { label: t('show'), run: () => {
    location.hash = '#create';
    prompt.focus();
  } } });
}

const USES = {
  lora: ({ name, weight, trigger }) => addWords(
    `${trigger && !$('prompt').value.includes(trigger) ? `, ${trigger}` : ''} <lora:${name}:${weight ?? 1}>`),
  embedding: ({ name }) => addWords(`, ${name}`),
  model: ({ name }) => {
    $('model').value = name;
    $('model').dispatchEvent(new Event('input', { bubbles: true }));
    location.hash = '#create';
    toast(t('painting_with', { model: name }));
  },
};

/* Until it is there, or does not come: what went wrong then is in the server's log. */
async function load(name, button) {
  button.disabled = true;
  try {
    await post('api/models/load', { model: name });
    toast(t('loading_model', { name }));
    for (let tries = 0; tries < LOADS && !store.models.find((each) => each.name === name)?.loaded; tries++) {
      await new Promise((done) => { setTimeout(done, LOAD_MS); });
      await store.refreshModels();
    }
  } catch (error) {
    complain(error);
  }
  button.disabled = false;
}

async function makeDefault(name) {
  try {
    await post('api/models/default', { model: name });
    await store.refreshModels();
    toast(t('is_the_default_now', { name }));
  } catch (error) {
    complain(error);
  }
}

/* What can be done with a model beside painting. */
const modelActs = ({ name, problem, loaded, default: usual, kind: origin }) => (problem ? [] : [
  origin === 'local' && !loaded && h('button', { 'aria-label': t('load_it', { name }), title: t('load_about'),
    onclick: ({ currentTarget }) => load(name, currentTarget) }, icon('download'), t('load')),
  origin === 'local' && loaded && h('button', { 'aria-label': t('free_memory_of', { name }), onclick: freeMemory }, icon('close'),
    t('unload')),
  !usual && h('button', { 'aria-label': t('make_default', { name }), title: t('default_about'), onclick: () => makeDefault(name) },
    icon('pin'), t('as_default')),
]);

function badges({ default: usual, loaded, problem, format, kind: origin }) {
  const [words, about] = FORMATS[format] ?? [];
  return h('p', { class: 'badges' },
    problem && h('span', { class: 'tag bad' }, t('cannot_paint')),
    usual && h('span', { class: 'tag' }, t('is_default')),
    loaded && h('span', { class: 'tag good' }, t('in_memory')),
    origin === 'upstream' && h('span', { class: 'tag' }, t('paints_elsewhere')),
    words && h('span', { class: format === 'pickle' ? 'tag warn' : 'tag', title: about }, words));
}

function makeItem(file) {
  const { name, title, family, architecture, base, trigger, description, preview, problem, bytes, width } = file;
  let picture = preview && h('img', { alt: '', class: 'file-picture' });
  if (preview)
    showPicture(picture, `api/files/preview?kind=${kind}&name=${encodeURIComponent(name)}`);
  if (name === 'pictor-mini' && kind === 'model') /* whose pictures come with the page */
    picture = h('img', { alt: '', class: 'file-picture', src: new URL('../first/castle.webp', import.meta.url) });
  const facts = [kind === 'model' && title !== name && name, family ?? architecture, base,
    kind === 'model' && width > 0 && `${width} × ${file.height}`, bytes > 0 && sizeText(bytes)]
    .filter(Boolean).join(' · ');
  const use = !problem && (kind !== 'lora' || !/[:<>]/.test(name)) && USES[kind];
  return h('li', { class: 'file', 'data-file': name },
    h('div', { class: 'file-top' }, picture || icon('brush')),
    h('div', { class: 'file-text' },
      h('h3', { class: 'label-prompt' }, kind === 'model' ? title : name),
      facts && h('p', { class: 'now' }, facts), badges(file),
      trigger && h('p', { class: 'trigger' }, h('strong', {}, t('words'), ' '), trigger),
      description && h('p', { class: 'now told' }, description),
      problem && h('p', { class: 'error' }, problem),
      (use || kind === 'model') && h('div', { class: 'job-buttons' }, use && h('button', { onclick: () => use(file),
        'aria-label': t(kind === 'model' ? 'paint_with' : 'use_it', { name }) }, icon('brush'),
      kind === 'model' ? t('paint_with_this') : t('use')), ...(kind === 'model' ? modelActs(file) : []).filter(Boolean))));
}

async function show(more) {
  const mine = ++asked;
  if (part.hidden)
    return; /* it is asked for when it is looked at again */
  try {
    const { files, count } = await ask(more ? shown : 0);
    if (mine !== asked)
      return;
    const items = files.map(makeItem);
    if (more)
      $('files').append(...items);
    else
      $('files').replaceChildren(...items);
    shown = (more ? shown : 0) + files.length;
    $('files-more').hidden = shown >= count;
    setText($('files-count'), count ? t('n_of', { n: shown, all: count }) : query() ? t('nothing_called', { name: query() })
      : t('none_here_yet'));
    $('free-memory').hidden = kind !== 'model' || !store.models.some(({ loaded }) => loaded);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403))
      complain(error);
  }
}

function choose(which, about) {
  kind = which;
  setText($('kind-about'), about);
  show(false);
}

async function freeMemory() {
  try {
    await post('api/models/unload');
    toast(t('freed_when_the_picture_at'));
    await store.refreshModels();
  } catch (error) {
    complain(error);
  }
}

function make() {
  part.querySelector('.view-head').append(h('div', { class: 'search', role: 'search' }, icon('search'),
    h('input', { id: 'files-query', type: 'search', placeholder: t('part_of_a_name'), 'aria-label': t('part_of_a_name'),
      autocomplete: 'off', spellcheck: 'false', oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(show, WAIT_MS, false);
      } })));
  part.append(
    h('fieldset', { id: 'files-kind', class: 'tabs' }, h('legend', { class: 'hidden' }, t('kind_of_file')),
      ...KINDS.map(([value, label, about]) => h('label', {}, h('input', { type: 'radio', name: 'files-kind',
        value, checked: value === kind, onchange: () => choose(value, about) }), h('span', {}, label)))),
    h('p', { class: 'lead' }, h('span', { id: 'kind-about' }, KINDS[0][2]), ' ',
      h('small', { id: 'files-count', role: 'status' })),
    h('ol', { id: 'files', class: 'files', 'aria-label': t('files') }),
    h('div', { class: 'tools' },
      h('button', { id: 'files-more', hidden: true, onclick: () => show(true) }, t('more')),
      h('button', { id: 'free-memory', hidden: true, onclick: freeMemory }, t('free_the_memory'))),
    makePulls());
  for (const event of ['models', 'ready'])
    store.addEventListener(event, () => show(false));
}

export async function open(section) {
  const again = part && store.loaded;
  if (!part) {
    part = section;
    make();
  }
  openPulls();
  if (again)
    await store.refreshModels(); /* which shows them */
  else
    await show(false);
}
