/* source.js: the picture to paint over. It comes from a file, a drop, the clipboard or the wall. */
import { $, announce, complain, setText, toast } from './dom.js';
import { store } from './store.js';
import { t } from './text.js';
import { later, opens } from './views.js';

const readInfotext = async (blob) => (await import('./infotext.js')).readInfotext(blob);

const AS_IT_IS = /^image\/(png|jpeg|webp)$/; /* what the server reads */
const SIDE_MAX = 2048;

let picture = null, mask; /* {blob, url, width, height, infotext}; later/mask.js's */
let edits = 0, references = null; /* how many pictures the model edits by; those beside this one */

const events = new EventTarget(); /* settings: detail is the infotext to take over; match: a size */
const repaints = () => document.querySelector('input[name=repaint]:checked').value;
const brushing = () => repaints() === 'brush';

/* Pixels to each side; throws {param} when there are none. */
function margins() {
  const pixels = Math.round(Number($('beyond-pixels').value));
  const sides = [...document.querySelectorAll('input[name=beyond]:checked')];
  if (sides.length === 0 || !(pixels > 0))
    throw Object.assign(new Error(t('choose_how_many_pixels')),
      { param: 'extend' });
  return Object.fromEntries(sides.map(({ value }) => [value, pixels]));
}

export function readAsDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(t('the_picture_could_not_be')));
    reader.readAsDataURL(blob);
  });
}

/* A photograph is larger than what the server accepts, lies on its side, or has a format of its
 * own: drawn anew, it is none of that. */
export async function prepare(blob) {
  const bitmap = await createImageBitmap(blob);
  const limit = store.info?.limits.max_pixels ?? SIDE_MAX * SIDE_MAX;
  const scale = Math.min(1, SIDE_MAX / Math.max(bitmap.width, bitmap.height),
    Math.sqrt(limit / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.floor(bitmap.width * scale));
  const height = Math.max(1, Math.floor(bitmap.height * scale));
  if (scale === 1 && AS_IT_IS.test(blob.type) && blob.type !== 'image/jpeg') {
    bitmap.close();
    return { blob, width, height };
  }
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const type = blob.type === 'image/jpeg' ? 'image/jpeg' : 'image/png';
  return { blob: await new Promise((resolve) => canvas.toBlob(resolve, type, 0.95)), width, height };
}

function render() {
  $('source-set').hidden = !picture;
  $('source-drop').hidden = $('source-file').hidden = Boolean(picture);
  setText($('source-summary'), picture ? `${picture.width} × ${picture.height}` : '');
  $('mask').hidden = $('mask-tools').hidden = $('area-field').hidden = !picture || !brushing();
  $('fill-field').hidden = !picture || repaints() === 'all';
  $('beyond').hidden = !picture || repaints() !== 'beyond';
  $('source-settings').hidden = !picture?.infotext;
  $('edits').hidden = !edits;
  if (picture) {
    $('source-picture').src = picture.url;
    $('board').style.aspectRatio = `${picture.width} / ${picture.height}`;
  }
}

export const source = {
  events,

  get present() {
    return picture !== null;
  },

  async set(blob) {
    let ready;
    try {
      ({ mask } = await later('mask'));
    } catch (error) {
      complain(error);
      return false;
    }
    try {
      ready = await prepare(blob);
    } catch {
      toast(t('unreadable_picture'), { bad: true });
      return false;
    }
    this.clear();
    picture = { ...ready, url: URL.createObjectURL(ready.blob), infotext: await readInfotext(blob) };
    mask.reset(picture.width, picture.height);
    $('source').open = true;
    render();
    announce(t('painting_over', { width: picture.width, height: picture.height }));
    return true;
  },

  clear() {
    if (picture)
      URL.revokeObjectURL(picture.url);
    picture = null;
    $('source-file').value = '';
    document.querySelector('input[name=repaint][value=all]').checked = true;
    render();
  },

  /* The model edits by so many pictures; 0: it paints over one. */
  async editsBy(count) {
    if (count === edits)
      return;
    edits = count;
    render();
    if (count > 1)
      references ??= later('references').then(({ References }) => new References($('references')));
    const list = await references;
    if (list)
      list.most = Math.max(0, edits - 1);
  },

  /* The fields of a request; throws {param} when something is missing. */
  async fields() {
    if (!picture)
      return {};
    const fields = { init_image: await readAsDataUrl(picture.blob) };
    if (brushing()) {
      if (mask.empty)
        throw Object.assign(new Error(t('brush_over_part')),
          { param: 'mask' });
      fields.mask = mask.toDataUrl(picture.width, picture.height);
    }
    if (repaints() === 'beyond')
      fields.extend = margins();
    const images = await (await references)?.dataUrls() ?? [];
    if (images.length)
      fields.images = images;
    return fields;
  },
};

const edit = opens('edit', (module) => module.open(picture.blob, {}));
const match = () => events.dispatchEvent(new CustomEvent('match', { detail: picture }));

$('source-file').addEventListener('change', (event) => {
  const [file] = event.target.files;
  if (file)
    source.set(file).then((taken) => taken && match());
});
$('source-remove').addEventListener('click', () => {
  source.clear();
  $('source').querySelector('summary').focus();
});
$('source-edit').addEventListener('click', () => edit());
$('source-match').addEventListener('click', match);
$('source-settings').addEventListener('click', () =>
  events.dispatchEvent(new CustomEvent('settings', { detail: picture.infotext })));
for (const radio of document.querySelectorAll('input[name=repaint]'))
  radio.addEventListener('change', render);

/* ---- drop and paste, anywhere ---- */

const ask = opens('drop', (module, blob, text) => module.ask(blob, text, {
  use: () => events.dispatchEvent(new CustomEvent('settings', { detail: text })),
  over: () => source.set(blob),
}));

async function take(files) {
  const file = [...files ?? []].find((each) => each.type.startsWith('image/'));
  if (!file) {
    toast(t('no_picture'), { bad: true });
    return;
  }
  const text = await readInfotext(file);
  if (text)
    ask(file, text);
  else if (await source.set(file))
    match();
}

const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
let depth = 0; /* dragenter and dragleave come for every element on the way */

function veil(change) {
  depth = change === 0 ? 0 : Math.max(0, depth + change);
  $('drop-veil').hidden = depth === 0;
}

addEventListener('dragenter', (event) => hasFiles(event) && veil(1));
addEventListener('dragleave', (event) => hasFiles(event) && veil(-1));
addEventListener('dragover', (event) => hasFiles(event) && event.preventDefault());
addEventListener('drop', (event) => {
  if (!hasFiles(event))
    return;
  event.preventDefault();
  veil(0);
  take(event.dataTransfer.files);
});
addEventListener('paste', (event) => {
  const { files, types } = event.clipboardData;
  if (files.length === 0 || types.includes('text/plain')) /* offices copy words as both */
    return;
  event.preventDefault();
  take(files);
});
