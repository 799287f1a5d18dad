/* compose.js: a painting out of an idea: the assistant writes a description of it, which comes in as it
 * is written and can be changed; then it is painted, in sight. */
import { openEvents, showImage } from '../api.js';
import { $, announce, complain, h, icon, plainWords, setText } from '../dom.js';
import { painter, SHAPES, sidesOf } from '../form.js';
import { edit, pictures } from '../gallery.js';
import { stepText } from '../queue.js';
import { isActive, store } from '../store.js';
import { language, t } from '../text.js';
import { opens } from '../views.js';

const SEEDS = 2 ** 32;
/* What is on a chip, and the idea: that is said as models understand it. */
const THEMES = [[t('theme_harbour'), t('idea_harbour')], [t('theme_forest'), t('idea_forest')],
  [t('theme_castle'), t('idea_castle')], [t('theme_farm'), t('idea_farm')], [t('theme_sea'), t('idea_sea')]];
const look = opens('lightbox', (module, picture) => module.open(picture));
let part = null, writing = null, job = null, made = null, theme = ''; /* writing: the stream; theme: of the text */

const paintable = () => store.models.filter(({ problem }) => !problem);
const model = () => store.models.find(({ name }) => name === $('compose-model').value) ?? store.models[0];

/* ---- the description ---- */

function stop() {
  writing?.close();
  writing = null;
  show();
}

async function write(event) {
  event?.preventDefault();
  const idea = $('compose-theme').value.trim() || $('compose-theme').placeholder;
  $('compose-theme').value = idea;
  stop();
  setText($('compose-error'), '');
  $('compose-text').value = '';
  setText($('compose-by'), '');
  const mine = writing = { close: () => {} };
  show();
  try {
    const stream = await openEvents('api/compose', { theme: idea, model: $('compose-model').value, stream: true,
      seed: Math.floor(Math.random() * SEEDS) });
    if (writing !== mine) {
      stream.close();
      return;
    }
    mine.close = stream.close;
    for await (const { event: name, data } of stream.events) {
      if (writing !== mine)
        return;
      if (name === 'error')
        throw new Error(data.error.message);
      if (name === 'piece')
        $('compose-text').value += data.text;
      if (name === 'done') {
        $('compose-text').value = data.text;
        theme = idea;
        setText($('compose-by'), t('written_by', { name: data.by }));
        announce(t('description_is_there'));
        break;
      }
    }
  } catch (error) {
    if (writing !== mine)
      return;
    setText($('compose-error'), plainWords(error.message));
  }
  if (writing === mine)
    stop();
  $('compose-text').focus({ preventScroll: true });
}

/* ---- the painting ---- */

function request() {
  const [width, height] = $('compose-shape').querySelector(':checked').value.split('x').map(Number);
  const seed = $('compose-seed').value.trim(), prompt = $('compose-text').value.trim();
  return { ...painter.alone(), prompt, width, height, model: $('compose-model').value, count: 1, preview_every: 1,
    steps: Number($('compose-steps').value), guidance: Number($('compose-guidance').value),
    composed_from: theme || undefined, seed: seed || undefined };
}

async function paint() {
  setText($('compose-error'), '');
  if (!$('compose-text').value.trim()) {
    await write();
    return;
  }
  stop();
  try {
    made = null;
    show();
    job = await store.submit(request());
    setText($('compose-words'), stepText({}));
    $('compose-bar').removeAttribute('value');
    show();
    $('compose-stage').scrollIntoView({ block: 'nearest' });
    if (!isActive(job))
      finished({ detail: job });
  } catch (error) {
    job = null;
    setText($('compose-error'), plainWords(error.message));
    show();
  }
}

function progressed({ detail }) {
  if (detail.id !== job?.id)
    return;
  const { step, steps } = detail.progress;
  setText($('compose-words'), stepText(detail.progress));
  if (steps)
    $('compose-bar').value = step / steps;
  if (detail.preview)
    $('compose-picture').src = detail.preview;
}

function finished({ detail }) {
  if (detail.id !== job?.id)
    return;
  job = null;
  if (detail.state === 'done' && detail.images.length) {
    made = { job: detail, image: detail.images[0] };
    $('compose-picture').alt = detail.params.prompt;
    showImage($('compose-picture'), made.image.id, true);
  } else {
    setText($('compose-error'), detail.state === 'failed' ? plainWords(detail.error?.message ?? t('failed_somehow')) : '');
  }
  show();
}

/* ---- the view ---- */

/* What can be done now, and what is seen of it. */
function show() {
  $('compose-write').hidden = Boolean(writing);
  $('compose-stop').hidden = !writing;
  $('compose-text').readOnly = Boolean(writing);
  $('compose-text').setAttribute('aria-busy', String(Boolean(writing)));
  $('compose-paint').disabled = Boolean(job) || Boolean(writing);
  $('compose-progress').hidden = !job;
  $('compose-made').hidden = !made;
  $('compose-stage').dataset.state = job ? 'painting' : made ? 'made' : 'blank';
  if (!job && !made)
    $('compose-picture').removeAttribute('src');
}

function fillShapes() {
  const before = $('compose-shape').querySelector(':checked');
  const at = before ? [...$('compose-shape').querySelectorAll('input')].indexOf(before) : 0;
  $('compose-shape').querySelector('div').replaceChildren(...SHAPES.map(([name, across, down], i) => {
    const [width, height] = sidesOf(across, down, model());
    const shape = h('span', { class: 'shape', 'aria-hidden': 'true' });
    shape.style.aspectRatio = `${across} / ${down}`;
    return h('label', {}, h('input', { type: 'radio', name: 'compose-shape', value: `${width}x${height}`, checked: i === at,
      onchange: frame }), shape, h('span', {}, name), h('small', {}, `${width} × ${height}`));
  }));
  frame();
}

/* The place where the picture will hang has its shape. */
function frame() {
  const [width, height] = $('compose-shape').querySelector(':checked').value.split('x').map(Number);
  $('compose-stage').style.setProperty('--ratio', width / height);
}

function useModel() {
  $('compose-steps').value = model().steps;
  $('compose-guidance').value = model().guidance;
  fillShapes();
}

function fillModels() {
  const { value } = $('compose-model'), all = paintable();
  $('compose-model').replaceChildren(...all.map(({ name, title }) => h('option', { value: name }, title)));
  const chosen = [value, $('model').value].find((name) => all.some((each) => each.name === name));
  if (chosen)
    $('compose-model').value = chosen;
  if (all.length && $('compose-model').value !== value)
    useModel();
}

function makeIdea() {
  return h('form', { class: 'compose-idea', 'aria-label': t('an_idea'), novalidate: true, onsubmit: write },
    h('div', { class: 'field' }, h('label', { for: 'compose-theme' }, t('what_about')),
      h('div', { class: 'with-buttons' },
        h('input', { id: 'compose-theme', maxlength: 500, autocomplete: 'off', placeholder: t('idea_harbour') }),
        h('button', { id: 'compose-write', type: 'submit' }, icon('pen'), t('describe_it')),
        h('button', { id: 'compose-stop', hidden: true, onclick: stop }, icon('close'), t('stop')))),
    h('div', { class: 'extras', role: 'group', 'aria-label': t('themes') }, ...THEMES.map(([label, idea]) =>
      h('button', { class: 'chip', onclick: () => {
        $('compose-theme').value = idea;
        write();
      } }, label))));
}

function makeSettings() {
  const number = (name, label, attributes) => h('div', { class: 'field' }, h('label', { for: `compose-${name}` }, label),
    h('input', { id: `compose-${name}`, type: 'number', inputmode: 'decimal', ...attributes }));
  return h('div', { class: 'compose-settings' },
    h('fieldset', { id: 'compose-shape', class: 'shapes' }, h('legend', { class: 'hidden' }, t('shape')), h('div', { class: 'shape-row' })),
    h('div', { class: 'field' }, h('label', { for: 'compose-model' }, t('model')),
      h('select', { id: 'compose-model', onchange: useModel })),
    h('div', { class: 'compose-numbers' },
      number('steps', t('steps'), { min: 1, step: 1 }), number('guidance', t('guidance'), { min: 0, max: 100, step: 'any' }),
      h('div', { class: 'field' }, h('label', { for: 'compose-seed' }, t('seed')),
        h('input', { id: 'compose-seed', inputmode: 'numeric', placeholder: t('random') }))));
}

function make() {
  part.append(h('p', { class: 'lead' }, t('compose_about'), language !== 'en' && ` ${t('descriptions_are_english')}`),
    h('div', { class: 'compose' },
      h('div', { class: 'compose-words' }, makeIdea(),
        h('div', { class: 'field' }, h('label', { for: 'compose-text' }, t('the_description'), ' ', h('small', { id: 'compose-by' })),
          h('textarea', { id: 'compose-text', rows: 5, lang: 'en', placeholder: t('description_comes_here'),
            onkeydown: (event) => (event.ctrlKey || event.metaKey) && event.key === 'Enter' && paint() })),
        makeSettings(),
        h('p', { id: 'compose-error', class: 'error', role: 'alert' }),
        h('div', { class: 'tools' },
          h('button', { id: 'compose-paint', class: 'paint', onclick: paint }, icon('brush'), t('paint')),
          h('button', { class: 'quiet', onclick: () => {
            $('prompt').value = $('compose-text').value.trim();
            $('prompt').dispatchEvent(new Event('input', { bubbles: true }));
            location.hash = '#create';
          } }, t('take_it_to_paint')))),
      h('section', { id: 'compose-stage', class: 'compose-stage', 'aria-label': t('the_painting') },
        h('div', { class: 'compose-frame' }, h('img', { id: 'compose-picture', alt: '' }), icon('brush')),
        h('div', { id: 'compose-progress', class: 'compose-progress', hidden: true },
          h('progress', { id: 'compose-bar', max: 1, 'aria-label': t('progress') }), h('p', { id: 'compose-words', class: 'now' }),
          h('button', { onclick: () => job && store.cancel(job.id).catch(complain) }, icon('close'), t('cancel'))),
        h('div', { id: 'compose-made', class: 'tools', hidden: true },
          h('button', { onclick: paint }, icon('again'), t('again')),
          h('button', { onclick: () => edit(latest()) }, icon('brush'), t('edit')),
          h('button', { onclick: () => look(latest()) }, icon('larger'), t('look_at_it'))))));
  store.addEventListener('progress', progressed);
  store.addEventListener('finished', finished);
  for (const event of ['ready', 'models'])
    store.addEventListener(event, fillModels);
}

/* As the wall has it, with what was done to it since. */
const latest = () => pictures().find(({ image }) => image.id === made.image.id) ?? made;

export function open(section) {
  if (!part) {
    part = section;
    make();
  }
  if (store.info)
    fillModels();
  show();
}

export const close = stop;
