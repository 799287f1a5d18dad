/* gallery.js: the wall. Pictures hang in rows of equal height, newest first, each with its label;
 * jobs that failed hang between them with what went wrong. All that can be done with a picture is in
 * the lightbox; the buttons on a picture are its short ways for the pointer. */
import { imageBlob, downloadUrl, showImage, upscaled } from './api.js';
import { $, arrange, complain, copyText, h, icon, setText, toast } from './dom.js';
import { painter } from './form.js';
import { store } from './store.js';

const cards = new Map(); /* id of an image, or of a job that failed -> {element, picture} */
let open = () => {};     /* the lightbox, which imports this file */

export const onOpen = (run) => { open = run; };

/* Every picture there is, as hung: [{job, image}]. */
export const pictures = () => store.history().flatMap((job) =>
  job.images.map((image) => ({ job, image })));

export const cardOf = (id) => cards.get(id)?.element;

/* ---- what can be done with a picture ---- */

/* Where prompts choose, each picture has its own. */
export const paramsOf = ({ job, image }) =>
  ({ ...job.params, ...job.params.variants?.[image.index] });

export const useSettings = ({ job, image }) => {
  const controls = job.params.controls?.map((each, i) => ({ ...each, image: `job:${job.id}/${i}` }));
  painter.apply({ ...paramsOf({ job, image }), controls, seed: image.seed, subseed: image.subseed });
  toast(job.params.has_init ? 'Settings taken over; the picture it began from is not part of them'
    : 'Settings taken over');
};

export async function paintOver({ job, image }) {
  try {
    await painter.paintOver(await imageBlob(image.id), job, image);
  } catch (error) {
    complain(error);
  }
}

export async function download({ image }) {
  try {
    const ending = image.format === 'jpeg' ? 'jpg' : image.format;
    const url = await downloadUrl(image.id);
    h('a', { href: url, download: `pictor-${image.id.slice(0, 12)}.${ending}` }).click();
    if (url.startsWith('blob:'))
      setTimeout(URL.revokeObjectURL, 60000, url);
  } catch (error) {
    complain(error);
  }
}

/* Twice as large, by the network inside the server: as a file, which the wall does not get. */
export async function upscale({ image }) {
  toast('Upscaling: the file is saved when it is done');
  try {
    const url = URL.createObjectURL(await upscaled({ image_id: image.id, format: image.format }));
    const ending = image.format === 'jpeg' ? 'jpg' : image.format;
    h('a', { href: url, download: `pictor-${image.id.slice(0, 12)}-x2.${ending}` }).click();
    setTimeout(URL.revokeObjectURL, 60000, url);
    toast('Upscaled');
  } catch (error) {
    complain(error);
  }
}

export async function copy(text, what) {
  try {
    await copyText(text);
    toast(`${what} copied`);
  } catch (error) {
    complain(error);
  }
}

export function removeJob(job) {
  const count = job.images.length;
  store.hide(job.id);
  toast(count > 1 ? `All ${count} pictures of this job deleted` : 'Deleted', {
    seconds: 8, action: { label: 'Undo', run: () => store.unhide(job.id) },
    gone: () => store.remove(job.id).catch(complain),
  });
}

/* ---- the wall ---- */

function makeCard(picture) {
  const { job, image } = picture;
  const alt = job.params.prompt || 'Picture without words';
  const img = h('img', { alt, width: image.width, height: image.height, decoding: 'async' });
  const short = (name, label, run) => h('button', { class: 'round', tabindex: -1, title: label,
    'aria-label': label, onclick: () => run(picture) }, icon(name));
  showImage(img, image.id);
  const card = h('figure', { class: job.live ? 'card fresh' : 'card', 'data-image': image.id },
    h('button', { class: 'open', onclick: () => open(picture) }, img),
    h('div', { class: 'short' },
      short('sliders', 'Use these settings', useSettings),
      short('brush', 'Paint over this', paintOver),
      short('download', 'Download', download),
      short('trash', 'Delete', () => removeJob(picture.job))),
    h('figcaption', {}, h('span', { class: 'label-prompt' }, job.params.prompt),
      h('small', {}, `${image.width} × ${image.height} · ${job.params.steps ?? '?'} steps · seed ${image.seed}`)));
  return hang(card, image.width / image.height);
}

/* A card is as wide as its picture, and grows in that proportion to fill its row. */
function hang(card, ratio) {
  card.style.setProperty('--ratio', Math.min(2.4, Math.max(0.6, ratio)));
  return card;
}

function makeFailed({ job }) {
  const again = () => store.retry(job.id).then(() => toast('In the queue again')).catch(complain);
  const card = h('article', { class: 'card failed', 'data-job': job.id },
    h('h3', {}, 'Not painted'),
    h('p', { class: 'label-prompt' }, job.params.prompt),
    h('p', { class: 'error' }, job.error?.message ?? 'It failed'),
    h('div', { class: 'tools' },
      h('button', { onclick: again }, icon('again'), 'Retry'),
      h('button', { onclick: () => painter.apply(job.params) }, 'Edit'),
      h('button', { onclick: () => removeJob(job) }, 'Remove')));
  return hang(card, 1);
}

function cardOnce(id, job, image, make) {
  if (!cards.has(id)) {
    const picture = { job, image };
    cards.set(id, { picture, element: make(picture) });
  }
  const { element, picture } = cards.get(id);
  picture.job = job; /* the latest copy */
  return element;
}

function cardsOf(job) {
  const wanted = job.images.map((image) => cardOnce(image.id, job, image, makeCard));
  if (job.state === 'failed')
    wanted.unshift(cardOnce(job.id, job, null, makeFailed));
  return wanted;
}

function render() {
  const wanted = store.history().flatMap(cardsOf);
  arrange($('pictures'), wanted);
  for (const [id, { element }] of cards)
    if (!element.isConnected)
      cards.delete(id);
  const blank = store.loaded && !store.query && wanted.length === 0 && !store.hasMore;
  $('empty').hidden = !blank || store.active().length > 0;
  $('gallery-head').hidden = blank;
  $('more').hidden = !store.loaded || !store.hasMore;
  $('nothing').hidden = !store.query || wanted.length > 0 || store.hasMore;
  setText($('nothing'), `No prompt has “${store.query}”`);
}

store.addEventListener('change', render);

/* An empty wall: frames that wait for a picture. */
store.addEventListener('ready', () => {
  $('frames').replaceChildren(...store.info.examples.slice(0, 4).map((words) => h('button', {
    class: 'frame', onclick: () => painter.paintWords(words),
  }, h('span', { class: 'frame-canvas', 'aria-hidden': 'true' }, icon('brush')),
  h('span', { class: 'label-prompt' }, words), h('small', {}, 'Paint this'))));
});

/* ---- searching and going back in time ---- */

let typing;
$('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => store.search($('search').value.trim()).catch(complain), 250);
});

const more = () => store.more().then(watch, complain);
const inSight = new IntersectionObserver(([entry]) => entry.isIntersecting && more(),
  { rootMargin: '800px' });

/* Begins anew each time: only what comes into sight is reported, not what stays there. */
function watch() {
  inSight.disconnect();
  inSight.observe($('more'));
}

$('more').addEventListener('click', more);
watch();
