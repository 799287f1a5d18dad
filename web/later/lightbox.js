/* lightbox.js: one picture, large, with how it was made and all that can be done with it. A <dialog>:
 * the browser keeps the focus inside, closes it on Esc and gives the focus back. */
import { showImage } from '../api.js';
import { $, announce, complain, h, hostMessages, icon, setText } from '../dom.js';
import { cardOf, edit, isEnlarged, look, paramsOf, pictures, removePicture, useSettings } from '../gallery.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { momentText, t } from '../text.js';
import { later, opens } from '../views.js';
import { again, copy, download, paintLarger, paintOver, upscale, variations } from './acts.js';

const side = (id, name, label, run) => h('button', { id: `lightbox-${id}`, class: `round ${id}`, 'aria-label': label,
  onclick: run }, icon(name));
const dialog = h('dialog', { id: 'lightbox', class: 'lightbox', 'aria-label': t('a_picture') },
  side('close', 'close', t('close'), () => dialog.close()),
  h('div', { class: 'stage' }, h('img', { id: 'lightbox-picture', alt: '' }),
    side('newer', 'left', t('newer_picture'), () => go(-1)), side('older', 'right', t('older_picture'), () => go(1))),
  h('div', { class: 'label' }, h('p', { id: 'lightbox-prompt', class: 'label-prompt' }),
    h('div', { id: 'lightbox-actions', class: 'tools' }), h('div', { id: 'lightbox-tags', class: 'tools' }),
    h('dl', { id: 'lightbox-facts', class: 'facts' }),
    h('div', { id: 'lightbox-notes', class: 'notes', hidden: true })));
document.body.append(dialog);
let shown = null; /* {job, image} */

/* Those that hang and have this, too. */
function findAll(query) {
  dialog.close();
  $('search').value = query;
  look();
  $('gallery').scrollIntoView();
  $('search').focus({ preventScroll: true });
}

function facts({ job, image }) {
  const params = paramsOf({ job, image });
  const seconds = job.finished_at && (job.finished_at - job.started_at) / 1000;
  const rows = [
    [t('size'), `${image.width} × ${image.height}`, null, `size:${params.width}x${params.height}`],
    [t('seed'), String(image.seed), () => copy(String(image.seed), t('seed'))],
    ...[['steps', t('steps')], ['guidance', t('guidance')], ['sampler', t('sampler')], ['scheduler', t('schedule')], ['model', t('model')]]
      .map(([name, label]) => [label, params[name], null, `${name}:${/ /.test(params[name]) ? `"${params[name]}"` : params[name]}`]),
    [t('began_from'), params.has_init &&
      t(params.has_mask ? 'from_masked' : 'from_picture', { strength: params.strength })],
    [t('upscaled'), isEnlarged({ job, image }) && t('from_size', { size: `${params.width} × ${params.height}` })],
    [t('enlarged'), params.hires_width > 0 && t('to_size', { size: `${params.hires_width} × ${params.hires_height}` })],
    [t('variation'), params.subseed_strength > 0 && t('share_of', { n: params.subseed_strength, seed: String(params.subseed) })],
    [t('clip_skip'), params.clip_skip > 1 && params.clip_skip],
    [t('refiner'), params.refiner && t('refiner_from', { model: params.refiner, n: params.refiner_at })],
    [t('led_by'), (params.controls ?? []).map(({ model, preprocessor, weight }) =>
      `${model} (${preprocessor}, ${weight})`).join(', ')],
    [t('keep_out'), params.negative_prompt],
    [t('painted'), momentText(job.created_at)],
    [t('took'), seconds > 0 && params.count > 1 ? t('time_of_all', { time: secondsText(seconds), n: params.count }) : secondsText(seconds)],
    [t('file'), t('file_of', { kind: image.format.toUpperCase(), n: Math.ceil(image.bytes / 1024) })],
  ];
  return rows.filter(([, value]) => value || value === 0).map(([name, value, run, query]) =>
    h('div', {}, h('dt', {}, name), h('dd', {}, query ? h('button', { class: 'fact', title: t('others_like_it'), onclick: () => findAll(query) }, String(value))
      : String(value),
      run && h('button', { class: 'bare', onclick: run, title: t('copy'),
        'aria-label': t('copy_seed') }, icon('copy')))));
}

/* What can be painted once more as it was: the pictures that others began from are not kept here. */
const hasFilm = ({ job }) => !job.params.has_init && !job.params.controls?.length &&
  store.models.some(({ name, kind, problem }) => name === job.params.model && kind === 'local' && !problem);

/* Twice as large by a second pass, which paints what it sees more finely: the same seed. */
function canGrow({ job: { params } }) {
  const { limits: { max_pixels: pixels } } = store.info, { maximum: side } = store.fields.hires_width;
  return !params.has_init && !(params.hires_width > 0) && !params.controls?.length &&
    params.width * params.height * 4 <= pixels && 2 * Math.max(params.width, params.height) <= side;
}

function actions(picture) {
  const button = (name, label, run, leave = false) => h('button', {
    onclick: () => {
      if (leave)
        dialog.close();
      run(picture);
    },
  }, icon(name), label);
  return [
    button('variation', t('variations'), variations, true),
    button('again', t('again'), again, true),
    button('larger', t('upscale'), upscale),
    canGrow(picture) && button('plus', t('paint_larger'), paintLarger, true),
    button('brush', t('edit'), edit, true),
    button('picture', t('paint_over_this'), paintOver, true),
    button('sliders', t('use_these_settings'), useSettings, true),
    hasFilm(picture) && button('check', t('reproduce'), opens('reproduce', (module, of) => module.run(of)), true),
    button('film', t(hasFilm(picture) ? 'how_it_came_to_be' : 'lost_in_noise'),
      opens('film', (module, of) => module.open(of, hasFilm(of)))),
    button('play', t('slideshow'), opens('slides', (module, from) => module.start(from)), true),
    button('download', t('download'), download),
    button('copy', t('copy_prompt'), () => copy(paramsOf(picture).prompt, t('prompt'))),
    !picture.job.params.has_init && button('code', t('as_a_program'), opens('code', (module, of) => module.open(of))),
    button('trash', t('delete'), remove),
  ];
}

function show(picture) {
  shown = picture;
  const list = pictures();
  const at = list.findIndex(({ image }) => image.id === picture.image.id);
  const img = $('lightbox-picture');
  img.removeAttribute('src');
  img.alt = paramsOf(picture).prompt || t('picture_without_words');
  img.width = picture.image.width;
  img.height = picture.image.height;
  img.style.setProperty('--ratio', picture.image.width / picture.image.height);
  img.style.setProperty('--across', picture.image.width);
  showImage(img, picture.image.id, true);
  setText($('lightbox-prompt'), paramsOf(picture).prompt);
  $('lightbox-facts').replaceChildren(...facts(picture));
  later('tags').then((module) => shown === picture && $('lightbox-tags').replaceChildren(...module.editor(picture)))
    .catch(complain);
  $('lightbox-notes').hidden = !picture.job.notes?.length;
  if (picture.job.notes?.length)
    later('notes').then((module) => shown === picture && $('lightbox-notes').replaceChildren(...module.factsOf(picture.job)))
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
