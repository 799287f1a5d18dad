/* slides.js: the wall as a slideshow, one picture after another over the whole screen. Space stops it,
 * arrows go on and back, Escape ends it. */
import { showImage } from '../api.js';
import { announce, h, hostMessages, icon, setText } from '../dom.js';
import { paramsOf, pictures } from '../gallery.js';
import { store } from '../store.js';
import { t } from '../text.js';

const EACH_MS = 5000, REST_MS = 2500; /* one picture; without a move of the pointer, the words go */
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let dialog = null, stage, words, count, pause, at = 0, timer, resting, playing = true;

async function go(by) {
  if (at + by >= pictures().length && store.hasMore)
    await store.more().catch(() => {});
  const all = pictures();
  if (!all.length) {
    dialog.close();
    return;
  }
  at = (at + by + all.length) % all.length;
  show(all[at], all.length);
}

function show(picture, of) {
  const { prompt } = paramsOf(picture);
  const img = h('img', { alt: prompt || t('picture_without_words'), class: 'slide' });
  img.style.setProperty('--across', picture.image.width);
  img.onload = () => {
    const [before] = stage.children;
    img.classList.add('seen');
    if (before && before !== img)
      setTimeout(() => before.remove(), calm.matches ? 0 : 900);
    if (before !== img)
      before?.classList.remove('seen');
  };
  stage.append(img);
  while (stage.children.length > 2)
    stage.firstElementChild.remove();
  showImage(img, picture.image.id, true);
  setText(words, prompt);
  setText(count, t(store.hasMore ? 'n_of_more' : 'n_of', { n: at + 1, all: of }));
  if (!playing)
    announce(prompt);
  again();
}

function again() {
  clearTimeout(timer);
  if (playing && dialog.open)
    timer = setTimeout(go, EACH_MS, 1);
}

function play(value) {
  playing = value;
  pause.replaceChildren(icon(value ? 'pause' : 'play'));
  pause.setAttribute('aria-label', value ? t('pause') : t('go_on'));
  again();
}

function wake() {
  dialog.classList.remove('rest');
  clearTimeout(resting);
  resting = setTimeout(() => dialog.classList.toggle('rest', playing && !dialog.querySelector(':focus-visible')),
    REST_MS);
}

const KEYS = { ArrowRight: () => go(1), ArrowLeft: () => go(-1), ' ': () => play(!playing) };

function make() {
  const round = (name, label, run) => h('button', { class: 'round', 'aria-label': label, onclick: run }, icon(name));
  stage = h('div', { class: 'slides-stage' });
  words = h('p', { class: 'label-prompt' });
  count = h('small');
  pause = round('pause', t('pause'), () => play(!playing));
  dialog = h('dialog', { class: 'slides', 'aria-label': t('slideshow'), onpointermove: wake, onkeydown: (event) => {
    const run = KEYS[event.key];
    wake();
    if (!run || (event.key === ' ' && event.target.closest('button')))
      return;
    event.preventDefault();
    run();
  }, onclose: () => {
    clearTimeout(timer);
    stage.replaceChildren();
    hostMessages();
    if (document.fullscreenElement)
      document.exitFullscreen();
  } }, stage, h('div', { class: 'slides-words' }, h('div', {}, words, count),
    h('div', { class: 'tools' }, round('left', t('back'), () => go(-1)), pause, round('right', t('next_picture'), () => go(1)),
      round('close', t('end_the_slideshow'), () => dialog.close()))));
  document.body.append(dialog);
}

/* Begins at `picture`, or with the newest. */
export function start(picture = null) {
  if (!dialog)
    make();
  at = Math.max(0, pictures().findIndex(({ image }) => image.id === picture?.image.id));
  dialog.showModal();
  hostMessages(dialog);
  dialog.requestFullscreen?.().catch(() => {}); /* where the browser has none, the window is enough */
  play(true);
  wake();
  go(0);
}
