/* reproduce.js: paints a picture once more as it was painted, and says whether it came out the same, pixel
 * for pixel. One that did is not kept: it hangs there already. */
import { imageBlob } from '../api.js';
import { announce, complain, toast } from '../dom.js';
import { painter } from '../form.js';
import { paramsOf, pictures } from '../gallery.js';
import { isActive, store } from '../store.js';
import { t } from '../text.js';
import { later } from '../views.js';

const waiting = new Map(); /* job's id -> the picture */

async function pixels(id) {
  const bitmap = await createImageBitmap(await imageBlob(id)), sheet = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = sheet.getContext('2d');
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

/* How many of a's pixels are others in b. */
function differing(a, b) {
  let count = a.length === b.length ? 0 : Math.abs(a.length - b.length) / 4;
  for (let i = 0; i < Math.min(a.length, b.length); i += 4)
    count += a[i] !== b[i] || a[i + 1] !== b[i + 1] || a[i + 2] !== b[i + 2] || a[i + 3] !== b[i + 3];
  return count;
}

async function compare(job, before) {
  const [made] = job.images;
  if (job.state !== 'done' || !made)
    return; /* what went wrong hangs on the wall */
  const [was, is] = await Promise.all([pixels(before.image.id), pixels(made.id)]);
  const others = differing(was, is);
  if (others === 0) {
    await store.remove([job.id], []);
    toast(t('reproduced'));
    return;
  }
  store.unhide(job.id);
  toast(t('not_reproduced', { share: `${Math.ceil(others * 400 / was.length)} %` }), { bad: true, seconds: 12,
    action: { label: t('show'), run: async () => {
      const found = pictures().find(({ image }) => image.id === made.id);
      if (found)
        (await later('lightbox')).open(found);
    } } });
}

function finished({ detail }) {
  const before = waiting.get(detail.id);
  if (!before)
    return;
  waiting.delete(detail.id);
  if (detail.state !== 'done')
    store.unhide(detail.id);
  compare(detail, before).catch(complain);
}
store.addEventListener('finished', finished);

export async function run({ job: of, image }) {
  const job = await painter.paintParams({ ...paramsOf({ job: of, image }), seed: image.seed, subseed: image.subseed, count: 1 });
  waiting.set(job.id, { image });
  store.hide(job.id);
  announce(t('painting_it_once_more'));
  const known = store.jobs.get(job.id); /* it may be done by now */
  if (known && !isActive(known))
    finished({ detail: known });
}
