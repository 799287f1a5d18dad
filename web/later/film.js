/* film.js: how a picture came to be: what the model took it for after each step, from noise to the end,
 * as a strip with a scrubber. The server keeps no steps, so the picture is painted once more, as it was;
 * what that makes is shown and not kept. And the way there: how a picture, this one or any, is lost in
 * noise, by which models learn (noising.js). */
import { imageBlob, post, showImage } from '../api.js';
import { announce, complain, h, hostMessages, icon, plainWords, setText, toast } from '../dom.js';
import { painter } from '../form.js';
import { paramsOf } from '../gallery.js';
import { isActive, store } from '../store.js';
import { fixed, t } from '../text.js';
import { isFlow, mix, Noising } from './noising.js';

const EACH_MS = 220, STRIP = 10, SIDE = 512; /* of a play; pictures in the strip; pixels of what is lost in noise */
const LOST = [0, 50, 100, 200, 300, 400, 500, 600, 800, 1000]; /* steps of the strip that noises */
let dialog = null, parts, frames, job = null, at = 0, timer, end, shown = null, noising = null;
const left = new Set(); /* ids of jobs that nobody waits for any more */

/* ---- from noise to the picture ---- */

function show(index) {
  at = Math.max(0, Math.min(frames.length - 1, index));
  const last = at === frames.length - 1 && end;
  parts.still.hidden = Boolean(last);
  parts.whole.hidden = !last;
  if (frames[at]?.src)
    parts.still.src = frames[at].src;
  parts.scrub.value = at;
  const words = last ? t('the_picture') : t('after_step', { n: frames[at]?.step ?? 0 });
  setText(parts.said, words);
  parts.scrub.setAttribute('aria-valuetext', words);
  for (const button of parts.strip.children)
    button.setAttribute('aria-current', String(Number(button.dataset.at) <= at &&
      !(Number(button.nextElementSibling?.dataset.at) <= at)));
}

function stop() {
  clearInterval(timer);
  timer = null;
  parts.play.replaceChildren(icon('play'), t('play'));
}

function play() {
  if (timer) {
    stop();
    return;
  }
  const { max, by, go } = noising ? { max: 1000, by: 20, go: noise } : { max: frames.length - 1, by: 1, go: show };
  let now = Number(parts.scrub.value);
  go(now = now === max ? 0 : now);
  parts.play.replaceChildren(icon('pause'), t('stop'));
  timer = setInterval(() => {
    go(now = Math.min(max, now + by));
    if (now === max)
      stop();
  }, noising ? EACH_MS / 3 : EACH_MS);
}

/* Steps that are far apart, the first and the last among them. */
function makeStrip() {
  const count = Math.min(STRIP, frames.length);
  parts.strip.replaceChildren(...Array.from({ length: count }, (_, i) => {
    const index = Math.round(i * (frames.length - 1) / Math.max(1, count - 1)), { src, step } = frames[index];
    const button = h('button', { class: 'film-frame', 'data-at': index, 'aria-label': src ? t('after_step', { n: step }) : `${t('the_picture')}, ${t('is_done')}`,
      onclick: () => show(index) });
    const img = h('img', { alt: '', ...(src && { src }) });
    if (!src)
      showImage(img, end);
    button.append(img, h('small', {}, src ? String(step) : t('is_done')));
    return button;
  }));
}

function progressed({ detail }) {
  if (detail.id !== job?.id)
    return;
  const { step, steps } = detail.progress;
  if (steps)
    parts.bar.value = step / steps;
  if (!noising)
    setText(parts.said, t('once_more_step', { n: step, all: steps || '…' }));
  if (detail.preview && frames.at(-1)?.src !== detail.preview)
    frames.push({ step, src: detail.preview });
}

function seen() {
  dialog.dataset.state = 'seen';
  parts.scrub.max = frames.length - 1;
  makeStrip();
  show(0);
  announce(t('steps_of', { n: frames.length - 1 }));
  parts.scrub.focus();
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches)
    play();
}

function finished({ detail }) {
  const mine = detail.id === job?.id;
  if (!mine && !left.delete(detail.id))
    return;
  store.remove([detail.id], []).catch(() => {});
  if (!mine)
    return;
  job = null;
  if (detail.state === 'done')
    frames.push({ step: null, src: null });
  if (noising)
    return;
  if (detail.state === 'done')
    seen();
  else
    setText(parts.said, detail.state === 'failed' ? plainWords(detail.error?.message ?? t('failed_somehow')) : t('cancelled'));
}

/* ---- from the picture to noise ---- */

const architecture = () => store.models.find(({ name }) => name === shown.job.params.model)?.architecture ?? '';

function noise(step) {
  const { picture, noise: part } = mix(step, architecture());
  noising.draw(parts.lost, step, architecture());
  parts.scrub.value = step;
  const words = t('noise_at', { n: step, picture: fixed(picture, 2), noise: fixed(part, 2) });
  setText(parts.said, words);
  parts.scrub.setAttribute('aria-valuetext', words);
  for (const button of parts.strip.children)
    button.setAttribute('aria-current', String(Number(button.dataset.at) <= step &&
      !(Number(button.nextElementSibling?.dataset.at) <= step)));
}

/* The strip as textbooks draw it: the picture, and ever less of it. */
async function lose(blob) {
  const bitmap = await createImageBitmap(blob), small = new Noising(bitmap, 96);
  noising = new Noising(bitmap, SIDE);
  bitmap.close();
  parts.lost.style.setProperty('--ratio', noising.width / noising.height);
  parts.strip.replaceChildren(...LOST.map((step) => {
    const sheet = document.createElement('canvas');
    small.draw(sheet, step, architecture());
    return h('button', { class: 'film-frame', 'data-at': step, 'aria-label': t('noise_step', { n: step }),
      onclick: () => {
        stop();
        noise(step);
      } }, h('img', { alt: '', src: sheet.toDataURL() }), h('small', {}, String(step)));
  }));
  parts.scrub.max = 1000;
  setText(parts.formula, isFlow(architecture()) ? 'xₜ = (1 − t) · x₀ + t · ε' : 'xₜ = √ᾱₜ · x₀ + √(1 − ᾱₜ) · ε');
  dialog.dataset.state = 'noising';
  noise(0);
}

async function choose(way) {
  stop();
  for (const button of parts.ways.children)
    button.setAttribute('aria-pressed', String(button.dataset.way === way));
  parts.still.hidden = parts.whole.hidden = way === 'noise';
  parts.about.hidden = parts.lost.hidden = way !== 'noise';
  if (way === 'noise') {
    await lose(await imageBlob(shown.image.id));
  } else {
    noising = null;
    await denoise();
  }
}

/* ---- the window ---- */

const wayOf = (name, label) => h('button', { 'data-way': name, 'aria-pressed': 'false',
  onclick: () => choose(name).catch(complain) }, label);

function make() {
  parts = {
    ways: h('div', { class: 'film-ways', role: 'group', 'aria-label': t('direction') }, wayOf('picture', t('noise_to_picture')),
      wayOf('noise', t('picture_to_noise'))),
    lost: h('canvas', { class: 'film-still', role: 'img', 'aria-label': t('the_picture_and_noise'), hidden: true }),
    formula: h('code', {}),
    still: h('img', { class: 'film-still', alt: '' }), whole: h('img', { class: 'film-still', alt: t('the_picture'), hidden: true }),
    said: h('p', { class: 'now', role: 'status' }), bar: h('progress', { 'aria-label': t('progress'), max: 1 }),
    scrub: h('input', { type: 'range', min: 0, value: 0, 'aria-label': t('step'), oninput: () => {
      stop();
      (noising ? noise : show)(Number(parts.scrub.value));
    } }),
    strip: h('div', { class: 'film-strip', role: 'group', 'aria-label': t('steps') }),
    play: h('button', { onclick: play }),
  };
  const file = h('input', { type: 'file', class: 'hidden', accept: 'image/*', tabindex: -1, 'aria-label': t('another_picture'),
    onchange: () => file.files[0] && lose(file.files[0]).catch(() => toast(t('unreadable_picture'), { bad: true })) });
  parts.about = h('div', { class: 'film-about', hidden: true }, h('p', { class: 'now' }, t('noising_about'), ' ', parts.formula),
    h('button', { onclick: () => file.click() }, icon('picture'), t('another_picture')), file);
  dialog = h('dialog', { class: 'film', 'aria-label': t('how_it_came_to_be'), onclose: () => {
    clearInterval(timer);
    timer = null;
    hostMessages(document.querySelector('dialog[open]') ?? document.body);
    if (job) {
      left.add(job.id);
      store.cancel(job.id).catch(() => {});
      job = null;
    }
  } },
  h('div', { class: 'film-top' }, h('h2', {}, t('how_it_came_to_be')),
    h('button', { class: 'round', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
  parts.ways, parts.about, h('div', { class: 'film-stage' }, parts.still, parts.whole, parts.lost), parts.said, parts.bar,
  h('div', { class: 'film-tools' }, parts.play, parts.scrub), parts.strip);
  document.body.append(dialog);
  store.addEventListener('progress', progressed);
  store.addEventListener('finished', finished);
}

/* Paints it once more. */
async function denoise() {
  const { job: of, image } = shown;
  if (frames.length && !frames.at(-1).src) {
    seen();
    return;
  }
  dialog.dataset.state = 'painting';
  parts.still.hidden = true;
  parts.whole.hidden = false;
  parts.bar.removeAttribute('value');
  setText(parts.said, t('painted_once_more_to_see'));
  showImage(parts.whole, image.id, true);
  for (const part of [parts.whole, parts.still])
    part.style.setProperty('--ratio', image.width / image.height);
  if (job)
    return; /* it is being painted */
  job = await post('api/jobs', { ...painter.exactly({ ...paramsOf({ job: of, image }), seed: image.seed, subseed: image.subseed }),
    count: 1, preview_every: 1 });
  store.hide(job.id);
  const known = store.jobs.get(job.id); /* it may be done by now */
  if (known && !isActive(known))
    finished({ detail: known });
}

/* `again`: it can be painted once more as it was. */
export async function open(picture, again) {
  if (!dialog)
    make();
  shown = picture;
  noising = null;
  frames = [];
  end = picture.image.id;
  parts.ways.firstElementChild.hidden = !again;
  dialog.showModal();
  hostMessages(dialog);
  try {
    await choose(again ? 'picture' : 'noise');
  } catch (error) {
    dialog.close();
    complain(error);
  }
}
