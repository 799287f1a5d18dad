/* lightbox.js: one picture, large, with how it was made and all that can be done with it. A <dialog>:
 * the browser keeps the focus inside, closes it on Esc and gives the focus back. */
import { showImage } from '../api.js';
import { $, announce, complain, h, hostMessages, icon, setText } from '../dom.js';
import {
  again, cardOf, copy, download, edit, isEnlarged, paintOver, paramsOf, pictures, removePicture, upscale,
  useSettings, variations,
} from '../gallery.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { later, opens } from '../views.js';

const dialog = $('lightbox');
let shown = null; /* {job, image} */

function facts({ job, image }) {
  const params = paramsOf({ job, image });
  const seconds = job.finished_at && (job.finished_at - job.started_at) / 1000;
  const rows = [
    ['Size', `${image.width} × ${image.height}`],
    ['Seed', String(image.seed), () => copy(String(image.seed), 'Seed')],
    ['Steps', params.steps], ['Guidance', params.guidance], ['Sampler', params.sampler],
    ['Schedule', params.scheduler], ['Model', params.model],
    ['Began from', params.has_init &&
      `a picture${params.has_mask ? ' and a mask' : ''}, strength ${params.strength}`],
    ['Upscaled', isEnlarged({ job, image }) && `from ${params.width} × ${params.height}`],
    ['Enlarged', params.hires_width > 0 && `to ${params.hires_width} × ${params.hires_height}`],
    ['Variation', params.subseed_strength > 0 && `${params.subseed_strength} of ${params.subseed}`],
    ['Clip skip', params.clip_skip > 1 && params.clip_skip],
    ['Refiner', params.refiner && `${params.refiner} from ${params.refiner_at}`],
    ['Led by', (params.controls ?? []).map(({ model, preprocessor, weight }) =>
      `${model} (${preprocessor}, ${weight})`).join(', ')],
    ['Keep out', params.negative_prompt],
    ['Painted', new Date(job.created_at).toLocaleString()],
    ['Took', seconds > 0 && `${secondsText(seconds)}${params.count > 1 ? `, all ${params.count}` : ''}`],
    ['File', `${image.format.toUpperCase()}, ${Math.ceil(image.bytes / 1024)} KB`],
  ];
  return rows.filter(([, value]) => value || value === 0).map(([name, value, run]) =>
    h('div', {}, h('dt', {}, name), h('dd', {}, String(value),
      run && h('button', { class: 'bare', onclick: run, title: 'Copy',
        'aria-label': `Copy ${name.toLowerCase()}` }, icon('copy')))));
}

/* What can be painted once more as it was: the pictures that others began from are not kept here. */
const hasFilm = ({ job }) => !job.params.has_init && !job.params.controls?.length &&
  store.models.some(({ name, kind, problem }) => name === job.params.model && kind === 'local' && !problem);

function actions(picture) {
  const button = (name, label, run, leave = false) => h('button', {
    onclick: () => {
      if (leave)
        dialog.close();
      run(picture);
    },
  }, icon(name), label);
  return [
    button('sliders', 'Use these settings', useSettings, true),
    button('brush', 'Edit', edit, true),
    button('picture', 'Paint over this', paintOver, true),
    button('variation', 'Variations', variations, true),
    button('again', 'Again', again, true),
    button('larger', 'Upscale', upscale),
    button('download', 'Download', download),
    button('play', 'Slideshow', opens('slides', (module, from) => module.start(from)), true),
    hasFilm(picture) && button('film', 'How it came to be', opens('film', (module, of) => module.open(of))),
    button('copy', 'Copy prompt', () => copy(paramsOf(picture).prompt, 'Prompt')),
    button('trash', 'Delete', remove),
  ];
}

function show(picture) {
  shown = picture;
  const list = pictures();
  const at = list.findIndex(({ image }) => image.id === picture.image.id);
  const img = $('lightbox-picture');
  img.removeAttribute('src');
  img.alt = paramsOf(picture).prompt || 'Picture without words';
  img.width = picture.image.width;
  img.height = picture.image.height;
  img.style.setProperty('--ratio', picture.image.width / picture.image.height);
  img.style.setProperty('--across', picture.image.width);
  showImage(img, picture.image.id, true);
  setText($('lightbox-prompt'), paramsOf(picture).prompt);
  $('lightbox-facts').replaceChildren(...facts(picture));
  later('tags').then((module) => shown === picture && $('lightbox-tags').replaceChildren(...module.editor(picture)))
    .catch(complain);
  $('lightbox-actions').replaceChildren(...actions(picture).filter(Boolean));
  $('lightbox-newer').hidden = at <= 0;
  $('lightbox-older').hidden = at < 0 || (at === list.length - 1 && !store.hasMore);
}

async function go(by) {
  const find = () => pictures().findIndex(({ image }) => image.id === shown.image.id);
  const at = find();
  if (at + by >= pictures().length && store.hasMore)
    await store.more().catch(() => {});
  const next = pictures()[find() + by];
  if (at < 0 || !next)
    return;
  show(next);
  announce(paramsOf(next).prompt);
}

function remove(picture) {
  const list = pictures();
  const at = list.findIndex(({ image }) => image.id === picture.image.id);
  const next = list[at + 1] ?? list[at - 1];
  removePicture(list[at] ?? picture);
  if (next) {
    show(next);
    $('lightbox-actions').lastElementChild.focus();
  } else {
    dialog.close();
  }
}

export function open(picture) {
  show(picture);
  dialog.showModal();
  hostMessages(dialog);
}

$('lightbox-close').addEventListener('click', () => dialog.close());
$('lightbox-newer').addEventListener('click', () => go(-1));
$('lightbox-older').addEventListener('click', () => go(1));
dialog.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft')
    go(-1);
  else if (event.key === 'ArrowRight')
    go(1);
  else if (event.key === 'Delete')
    remove(shown);
});
/* A click beside the picture is one on the wall behind. */
dialog.addEventListener('click', (event) => {
  if (event.target.matches('dialog, .stage'))
    dialog.close();
});
/* The picture that is left is the one to go on from. */
dialog.addEventListener('close', () => {
  hostMessages();
  const card = cardOf(shown.image.id);
  if (card && document.activeElement !== $('prompt'))
    card.querySelector('.open').focus();
});

let touchX = null;
dialog.addEventListener('touchstart', (event) => {
  touchX = event.touches.length === 1 && event.target.closest('.stage') ?
    event.touches[0].clientX : null;
}, { passive: true });
dialog.addEventListener('touchend', (event) => {
  const by = touchX === null ? 0 : event.changedTouches[0].clientX - touchX;
  if (Math.abs(by) > 60)
    go(by > 0 ? -1 : 1);
});
