/* edit.js: a picture, large, of which a part is painted anew: mark it, say what shall be there, paint;
 * what comes out is laid over what was, with an edge to swipe, and can be gone on from. What is painted
 * hangs on the wall like any other picture. */
import { imageBlob } from '../api.js';
import { $, announce, complain, h, hostMessages, icon, plainWords, setText, toast } from '../dom.js';
import { painter, round8 } from '../form.js';
import { paramsOf } from '../gallery.js';
import { stepText } from '../queue.js';
import { readAsDataUrl } from '../source.js';
import { isActive, store } from '../store.js';
import { t } from '../text.js';
import { Board, SIDES } from './edit_board.js';
import { References } from './references.js';

const TOOLS = [
  ['brush', 'brush', t('brush'), 'b', t('paint_over_what_shall_change')],
  ['lasso', 'lasso', t('lasso'), 'l', t('draw_around_what_shall_change')],
  ['wand', 'wand', t('wand'), 'w', t('press_on_a_colour_all')],
  ['edges', 'edges', t('edges'), 'x', t('drag_an_edge_outwards')],
  ['move', 'hand', t('move'), 'm', t('drag_the_picture_about_two')],
];
const STRENGTHS = [
  [0.3, t('touches_it_up_colours')],
  [0.55, t('reworks_it_shapes_stay_details')],
  [0.8, t('repaints_it_only_the_layout')],
  [1.01, t('invents_hardly_anything')],
];
let dialog = null, board, base = {}, picture = null, job = null, made = null, references, edits = 0; /* edits: as models say it */

/* ---- what is painted ---- */

const strengthWords = (value) => (edits && value === 1 ? t('follows_your_words')
  : STRENGTHS.find(([below]) => value < below)[1]);

async function request() {
  const body = { ...base, preview_every: 1, count: 1, prompt: $('edit-prompt').value.trim(),
    init_image: await readAsDataUrl(picture.blob), strength: Number($('edit-strength').value) };
  const images = await references.dataUrls();
  if (images.length)
    body.images = images;
  if (board.beyond) {
    delete body.width;
    delete body.height;
    return { ...body, extend: Object.fromEntries(SIDES.filter((side) => board.extend[side] > 0)
      .map((side) => [side, board.extend[side]])) };
  }
  Object.assign(body, { width: round8(picture.width), height: round8(picture.height), fit: 'stretch' });
  if (!board.mask.empty)
    Object.assign(body, { mask: board.mask.toDataUrl(), mask_blur: board.blur, fill: $('edit-fill').value,
      mask_only_area: $('edit-alone').checked });
  return body;
}

async function paint() {
  setText($('edit-error'), '');
  try {
    show('painting');
    setText($('edit-words'), stepText({}));
    $('edit-bar').removeAttribute('value');
    job = await store.submit(await request());
    if (!isActive(job))
      finished(job);
  } catch (error) {
    job = null;
    show('marking');
    setText($('edit-error'), plainWords(error.message));
  }
}

function progressed({ detail }) {
  if (detail.id !== job?.id)
    return;
  const { step, steps } = detail.progress;
  setText($('edit-words'), stepText(detail.progress));
  if (steps)
    $('edit-bar').value = step / steps;
  if (detail.preview)
    $('edit-preview').src = detail.preview;
  $('edit-preview').hidden = !detail.preview;
}

async function finished(final) {
  if (final.id !== job?.id)
    return;
  job = null;
  if (final.state !== 'done' || !final.images.length) {
    show('marking');
    setText($('edit-error'), final.state === 'failed' ? plainWords(final.error?.message ?? t('failed_somehow')) : '');
    return;
  }
  try {
    const blob = await imageBlob(final.images[0].id);
    made = { blob, url: URL.createObjectURL(blob), prompt: final.params.prompt };
    compare();
  } catch (error) {
    show('marking');
    complain(error);
  }
}

/* ---- before and after ---- */

function compare() {
  $('edit-after').src = made.url;
  const { left, right, up, down } = board.extend, { width, height } = picture;
  const across = width + left + right, high = height + up + down;
  const before = $('edit-before');
  before.src = picture.url;
  for (const [name, value] of [['left', left / across], ['top', up / high], ['width', width / across],
    ['height', height / high]])
    before.style[name] = `${value * 100}%`;
  board.whole();
  swipe(50);
  show('comparing');
  $('edit-cut').focus({ preventScroll: true });
  announce(t('painted_before_is_left'));
}

function swipe(percent) {
  $('edit-cut').value = percent;
  $('edit-swipe').style.setProperty('--cut', `${percent}%`);
}

async function keep() {
  const { blob } = made;
  await setPicture(blob);
  show('marking');
  toast(t('now_you_edit_this_one'));
}

/* ---- the window ---- */

/* marking, painting, comparing */
function show(state) {
  dialog.dataset.state = state;
  $('edit-tools').inert = state !== 'marking';
  $('edit-canvas').tabIndex = state === 'marking' ? 0 : -1;
  $('edit-marks').disabled = state !== 'marking';
  $('edit-progress').hidden = state !== 'painting';
  $('edit-swipe').hidden = state !== 'comparing';
  $('edit-made').hidden = state !== 'comparing';
  $('edit-paint').hidden = state !== 'marking';
  if (state !== 'painting')
    $('edit-preview').hidden = true;
  if (state === 'marking')
    changed();
}

function changed() {
  if (!board.bitmap || !dialog)
    return;
  const { mask, extend } = board, some = !mask.empty;
  for (const button of dialog.querySelectorAll('[data-tool]'))
    button.setAttribute('aria-pressed', String(button.dataset.tool === board.tool));
  $('edit-erase').setAttribute('aria-pressed', String(board.erase));
  $('edit-undo').disabled = !mask.past.length;
  $('edit-redo').disabled = !mask.future.length;
  $('edit-size-field').hidden = board.tool !== 'brush';
  $('edit-reach-field').hidden = board.tool !== 'wand';
  $('edit-sides').hidden = board.tool !== 'edges' && !board.beyond;
  for (const side of SIDES)
    if ($(`edit-${side}`) !== document.activeElement)
      $(`edit-${side}`).value = extend[side];
  $('edit-part').hidden = !some || board.beyond;
  setText($('edit-what'), board.beyond ? t('what_is_beyond_the_edges')
    : some ? t('what_is_marked_gets_painted') : t('nothing_is_marked_all'));
  for (const [name, value] of Object.entries(board.frame)) /* both lie where the picture does */
    for (const element of [$('edit-preview'), $('edit-swipe')])
      element.style[name] = `${value}px`;
  setText($('edit-zoom'), t('percent', { n: Math.round(board.scale * 100) }));
  board.canvas.style.cursor = { move: 'grab', edges: 'grab', brush: 'none' }[board.tool] ?? 'crosshair';
}

function choose(tool) {
  board.tool = tool;
  board.draw();
  changed();
  setText($('edit-hint'), TOOLS.find(([name]) => name === tool)[4]);
}

const act = (run) => () => {
  run();
  board.draw();
  changed();
};
const undo = act(() => board.mask.undo());
const redo = act(() => board.mask.redo());
const flip = act(() => { board.erase = !board.erase; });
const invert = act(() => board.mask.invert());
const clear = act(() => {
  board.mask.clear();
  board.extend = { left: 0, right: 0, up: 0, down: 0 };
});

function resize(by) {
  board.size = Math.min(400, Math.max(2, Math.round(board.size * by)));
  $('edit-size').value = board.size;
  board.draw();
}

function keys(event) {
  const typing = event.target.matches('textarea, select, input:not([type=range])');
  const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (control && key === 'enter' && dialog.dataset.state === 'marking')
    paint();
  else if (typing || dialog.dataset.state !== 'marking')
    return;
  else if (control && (key === 'y' || (key === 'z' && event.shiftKey)))
    redo();
  else if (control && key === 'z')
    undo();
  else if (control || event.altKey)
    return;
  else if (TOOLS.some(([, , , letter]) => letter === key))
    choose(TOOLS.find(([, , , letter]) => letter === key)[0]);
  else if (key === 'e')
    flip();
  else if (key === 'i')
    invert();
  else if (key === '[' || key === ']')
    resize(key === ']' ? 1.2 : 1 / 1.2);
  else if (key === '+' || key === '=')
    board.zoom(1.25);
  else if (key === '-')
    board.zoom(0.8);
  else if (key === '0')
    board.whole();
  else
    return;
  event.preventDefault();
}

/* ---- its parts ---- */

const tool = (id, name, label, run, title = label) => h('button', { id, class: 'tool', title, 'aria-label': label,
  onclick: run }, icon(name), h('span', { 'aria-hidden': 'true' }, label));

function range(name, label, min, max, value, set, small = '') {
  return h('div', { class: 'field', id: `edit-${name}-field` },
    h('label', { for: `edit-${name}` }, label, small && h('small', {}, ` ${small}`)),
    h('input', { id: `edit-${name}`, type: 'range', min, max, value, oninput: ({ target }) => {
      set(Number(target.value));
      board.draw();
    } }));
}

function makeTools() {
  return h('div', { id: 'edit-tools', class: 'edit-tools', role: 'toolbar', 'aria-label': t('tools'),
    'aria-orientation': 'vertical' },
  ...TOOLS.map(([name, sign, label, key, about]) => {
    const button = tool(null, sign, label, () => choose(name), `${about} (${key})`);
    button.dataset.tool = name;
    return button;
  }),
  h('hr', {}),
  tool('edit-erase', 'eraser', t('erase'), flip, t('take_marks_away_instead_e')),
  tool(null, 'invert', t('invert'), invert, t('what_is_marked')),
  tool('edit-undo', 'undo', t('undo'), undo, t('undo_ctrl_z')),
  tool('edit-redo', 'redo', t('redo'), redo, t('redo_ctrl_y')),
  tool(null, 'trash', t('clear'), clear, t('take_all_marks_away')));
}

function makePanel() {
  const side = (name, label) => h('label', {}, label, h('input', { id: `edit-${name}`, type: 'number', min: 0, step: 8,
    value: 0, inputmode: 'numeric', onchange: ({ target }) => board.extendTo(name, Number(target.value)) }));
  return h('div', { class: 'edit-panel' },
    h('fieldset', { id: 'edit-marks', class: 'edit-marks' },
      h('legend', { class: 'hidden' }, t('what_is_painted')),
      h('div', { class: 'field' }, h('label', { id: 'edit-ask', for: 'edit-prompt' }, t('what_shall_be_there')),
        h('textarea', { id: 'edit-prompt', rows: 2 })),
      h('div', { id: 'edit-references', class: 'field', hidden: true }),
      h('p', { id: 'edit-what', class: 'now', role: 'status' }),
      h('div', { class: 'field' }, h('label', { for: 'edit-strength' }, t('how_much_may_change')),
        h('input', { id: 'edit-strength', type: 'range', min: 0.1, max: 1, step: 0.05, value: 0.75,
          'aria-describedby': 'edit-strength-words', oninput: showStrength }),
        h('p', { id: 'edit-strength-words', class: 'now' })),
      range('size', t('brush'), 2, 400, 40, (value) => { board.size = value; }),
      range('reach', t('reach_of_the_wand'), 0, 60, 12, (value) => { board.reach = value; }, t('how_unlike_a_colour_may')),
      h('div', { id: 'edit-sides', class: 'edit-sides' }, side('left', t('side_left')), side('right', t('right')), side('up', t('up')),
        side('down', t('down'))),
      h('div', { id: 'edit-part', class: 'edit-part' },
        range('blur', t('soft_edge'), 0, 32, 4, (value) => { board.blur = value; }),
        h('div', { class: 'field' }, h('label', { for: 'edit-fill' }, t('begin_with')),
          h('select', { id: 'edit-fill' }, ...[['original', t('what_is_there')], ['blur', t('its_blur')], ['noise', t('noise')],
            ['nothing', t('nothing')]].map(([value, words]) => h('option', { value }, words)))),
        h('label', { class: 'check' }, h('input', { id: 'edit-alone', type: 'checkbox' }),
          t('paint_the_part_alone_at')))),
    h('p', { id: 'edit-error', class: 'error', role: 'alert' }),
    h('div', { id: 'edit-progress', class: 'edit-progress' }, h('progress', { id: 'edit-bar', 'aria-label': t('progress'), max: 1 }),
      h('p', { id: 'edit-words', class: 'now' }),
      h('button', { onclick: () => job && store.cancel(job.id).catch(complain) }, icon('close'), t('cancel'))),
    h('div', { id: 'edit-made', class: 'tools' },
      h('button', { class: 'paint', onclick: () => keep().catch(complain) }, icon('check'), t('go_on_from_this')),
      h('button', { onclick: paint }, icon('again'), t('try_again')),
      h('button', { class: 'quiet', onclick: () => show('marking') }, t('back_to_the_marks'))),
    h('button', { id: 'edit-paint', class: 'paint', onclick: paint }, icon('brush'), t('paint')));
}

function showStrength() {
  const words = strengthWords(Number($('edit-strength').value));
  setText($('edit-strength-words'), words);
  $('edit-strength').setAttribute('aria-valuetext', words);
}

function make() {
  const canvas = h('canvas', { id: 'edit-canvas', tabindex: 0, role: 'application',
    'aria-label': t('the_picture_arrow_keys_move') });
  dialog = h('dialog', { id: 'edit', class: 'edit', 'aria-label': t('edit_a_picture'), onkeydown: keys },
    h('div', { class: 'edit-top' }, h('p', { id: 'edit-hint', class: 'now' }),
      h('div', { class: 'tools' },
        h('button', { class: 'bare', 'aria-label': t('look_from_further'), title: t('look_from_further_key'),
          onclick: () => board.zoom(0.8) }, icon('minus')),
        h('button', { class: 'quiet', id: 'edit-zoom', title: t('all_of_it_0'), onclick: () => board.whole() }, '100 %'),
        h('button', { class: 'bare', 'aria-label': t('look_closer'), title: t('look_closer_key'), onclick: () => board.zoom(1.25) },
          icon('plus')),
        h('button', { class: 'round', id: 'edit-close', 'aria-label': t('close'), onclick: () => dialog.close() },
          icon('close')))),
    makeTools(),
    h('div', { class: 'edit-stage' }, canvas, h('img', { id: 'edit-preview', alt: '', hidden: true }),
      h('div', { id: 'edit-swipe', class: 'edit-swipe', hidden: true },
        h('img', { id: 'edit-after', alt: t('after') }), h('div', { class: 'edit-cut-part' }, h('img', { id: 'edit-before', alt: t('before') })),
        h('span', { class: 'edit-said' }, t('before')), h('span', { class: 'edit-said after' }, t('after')),
        h('input', { id: 'edit-cut', type: 'range', min: 0, max: 100, value: 50, 'aria-label': t('before_and_after'),
          oninput: ({ target }) => swipe(Number(target.value)) }))),
    makePanel());
  document.body.append(dialog);
  board = new Board(canvas, changed);
  references = new References($('edit-references'));
  dialog.addEventListener('close', () => {
    hostMessages();
    if (job)
      toast(t('it_goes_on_being_painted'));
    job = null;
  });
  store.addEventListener('progress', progressed);
  store.addEventListener('finished', ({ detail }) => finished(detail));
}

async function setPicture(blob) {
  const bitmap = await createImageBitmap(blob);
  for (const url of [picture?.url, made?.url])
    if (url)
      URL.revokeObjectURL(url);
  made = null;
  picture = { blob, url: URL.createObjectURL(blob), width: bitmap.width, height: bitmap.height };
  board.set(bitmap);
  $('edit-size').max = Math.round(Math.max(bitmap.width, bitmap.height) / 2);
  $('edit-size').value = board.size;
}

/* Opens with `blob`; `params` are what it was painted with, if it was. */
export async function open(blob, params) {
  if (!dialog)
    make();
  base = painter.alone(params);
  edits = store.models.find(({ name, default: usual }) => (base.model ? name === base.model : usual))?.edits ?? 0;
  references.clear();
  references.most = Math.max(0, edits - 1);
  setText($('edit-ask'), edits ? t('what_shall_become') : t('what_shall_be_there'));
  $('edit-strength').value = edits ? 1 : 0.75;
  $('edit-prompt').value = edits ? '' : params.prompt ?? '';
  setText($('edit-error'), '');
  try {
    dialog.showModal();
    hostMessages(dialog);
    await setPicture(blob);
    choose('brush');
    showStrength();
    show('marking');
    $('edit-canvas').focus({ preventScroll: true });
  } catch (error) {
    dialog.close();
    complain(error);
  }
}

export const openPicture = async ({ job: of, image }) =>
  open(await imageBlob(image.id), paramsOf({ job: of, image }));
