/* film.js: how a picture came to be: what the model took it for after each step, from noise to the end,
 * as a strip with a scrubber. The server keeps no steps, so the picture is painted once more, as it was;
 * what that makes is shown and not kept. */
import { post, showImage } from '../api.js';
import { announce, complain, h, hostMessages, icon, plainWords, setText } from '../dom.js';
import { painter } from '../form.js';
import { paramsOf } from '../gallery.js';
import { isActive, store } from '../store.js';

const EACH_MS = 220, STRIP = 10; /* of a play; pictures in the strip */
let dialog = null, parts, frames, job = null, at = 0, timer, end;

function show(index) {
  at = Math.max(0, Math.min(frames.length - 1, index));
  const last = at === frames.length - 1 && end;
  parts.still.hidden = Boolean(last);
  parts.whole.hidden = !last;
  if (frames[at]?.src)
    parts.still.src = frames[at].src;
  parts.scrub.value = at;
  const words = last ? 'The picture' : `After step ${frames[at]?.step ?? 0}`;
  setText(parts.said, words);
  parts.scrub.setAttribute('aria-valuetext', words);
  for (const button of parts.strip.children)
    button.setAttribute('aria-current', String(Number(button.dataset.at) <= at &&
      !(Number(button.nextElementSibling?.dataset.at) <= at)));
}

function stop() {
  clearInterval(timer);
  timer = null;
  parts.play.replaceChildren(icon('play'), 'Play');
}

function play() {
  if (timer) {
    stop();
    return;
  }
  show(at === frames.length - 1 ? 0 : at);
  parts.play.replaceChildren(icon('pause'), 'Stop');
  timer = setInterval(() => {
    show(at + 1);
    if (at === frames.length - 1)
      stop();
  }, EACH_MS);
}

/* Steps that are far apart, the first and the last among them. */
function makeStrip() {
  const count = Math.min(STRIP, frames.length);
  parts.strip.replaceChildren(...Array.from({ length: count }, (_, i) => {
    const index = Math.round(i * (frames.length - 1) / Math.max(1, count - 1)), { src, step } = frames[index];
    const button = h('button', { class: 'film-frame', 'data-at': index, 'aria-label': src ? `After step ${step}` : 'The picture',
      onclick: () => show(index) });
    const img = h('img', { alt: '', ...(src && { src }) });
    if (!src)
      showImage(img, end);
    button.append(img, h('small', {}, src ? String(step) : 'done'));
    return button;
  }));
}

function progressed({ detail }) {
  if (detail.id !== job?.id)
    return;
  const { step, steps } = detail.progress;
  if (steps)
    parts.bar.value = step / steps;
  setText(parts.said, `Painted once more to see its steps: ${step} of ${steps || '…'}`);
  if (detail.preview && frames.at(-1)?.src !== detail.preview)
    frames.push({ step, src: detail.preview });
}

function finished({ detail }) {
  if (detail.id !== job?.id)
    return;
  job = null;
  store.remove([detail.id], []).catch(() => {});
  if (detail.state !== 'done' || !dialog.open) {
    setText(parts.said, detail.state === 'failed' ? plainWords(detail.error?.message ?? 'It failed') : 'Cancelled');
    return;
  }
  frames.push({ step: null, src: null });
  dialog.dataset.state = 'seen';
  parts.scrub.max = frames.length - 1;
  makeStrip();
  show(0);
  announce(`${frames.length - 1} steps`);
  parts.scrub.focus();
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches)
    play();
}

function make() {
  parts = {
    still: h('img', { class: 'film-still', alt: '' }), whole: h('img', { class: 'film-still', alt: 'The picture', hidden: true }),
    said: h('p', { class: 'now', role: 'status' }), bar: h('progress', { 'aria-label': 'Progress', max: 1 }),
    scrub: h('input', { type: 'range', min: 0, value: 0, 'aria-label': 'Step', oninput: () => {
      stop();
      show(Number(parts.scrub.value));
    } }),
    strip: h('div', { class: 'film-strip', role: 'group', 'aria-label': 'Steps' }),
    play: h('button', { onclick: play }),
  };
  dialog = h('dialog', { class: 'film', 'aria-label': 'How it came to be', onclose: () => {
    clearInterval(timer);
    timer = null;
    hostMessages(document.querySelector('dialog[open]') ?? document.body);
    if (job)
      store.cancel(job.id).catch(() => {});
  } },
  h('div', { class: 'film-top' }, h('h2', {}, 'How it came to be'),
    h('button', { class: 'round', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'))),
  h('div', { class: 'film-stage' }, parts.still, parts.whole), parts.said, parts.bar,
  h('div', { class: 'film-tools' }, parts.play, parts.scrub), parts.strip);
  document.body.append(dialog);
  store.addEventListener('progress', progressed);
  store.addEventListener('finished', finished);
}

export async function open(picture) {
  if (!dialog)
    make();
  const { job: of, image } = picture;
  frames = [];
  end = image.id;
  dialog.dataset.state = 'painting';
  parts.still.hidden = true;
  parts.whole.hidden = false;
  parts.bar.removeAttribute('value');
  setText(parts.said, 'Painted once more to see its steps…');
  stop();
  showImage(parts.whole, image.id, true);
  parts.whole.style.setProperty('--ratio', image.width / image.height);
  parts.still.style.setProperty('--ratio', image.width / image.height);
  dialog.showModal();
  hostMessages(dialog);
  try {
    job = await post('api/jobs', { ...painter.exactly({ ...paramsOf({ job: of, image }), seed: image.seed, subseed: image.subseed }),
      count: 1, preview_every: 1 });
    store.hide(job.id);
    const known = store.jobs.get(job.id); /* it may be done by now */
    if (known && !isActive(known))
      finished({ detail: known });
  } catch (error) {
    dialog.close();
    complain(error);
  }
}
