/* acts.js: what can be done with a picture that hangs: more like it, larger ones, files. */
import { downloadUrl, imageBlob, post } from '../api.js';
import { complain, copyText, save, toast } from '../dom.js';
import { painter } from '../form.js';
import { isEnlarged, paramsOf, pictures, useSettings } from '../gallery.js';
import { store } from '../store.js';
import { t } from '../text.js';
import { opens } from '../views.js';

const open = opens('lightbox', (module, picture) => module.open(picture));

export async function paintOver({ job, image }) {
  try {
    await painter.paintOver(await imageBlob(image.id), job, image);
  } catch (error) {
    complain(error);
  }
}

/* The first words of its prompt and its seed, so that it is found again among files. */
export function fileName({ job, image }) {
  const words = paramsOf({ job, image }).prompt.normalize('NFC').toLowerCase()
    .replace(/<[^<>]*>/g, ' ').match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  let name = '';
  for (const word of words)
    if (name.length + word.length < 48)
      name += `${word}-`;
  const ending = image.format === 'jpeg' ? 'jpg' : image.format;
  return `${name || 'pictor-'}${image.seed}${isEnlarged({ job, image }) ? '-upscaled' : ''}.${ending}`;
}

export async function download({ job, image }) {
  try {
    save(await downloadUrl(image.id), fileName({ job, image }));
  } catch (error) {
    complain(error);
  }
}

/* Twice as large, by the network inside the server; it hangs beside what it was made of. */
export async function upscale({ job, image }) {
  toast(t('upscaling_it_hangs_on'));
  try {
    const { id } = await post('api/upscale', { image_id: image.id, keep: job.id, format: image.format });
    toast(t('upscaled'), { action: { label: t('show'), run: () => {
      const made = pictures().find((each) => each.image.id === id);
      if (made)
        open(made);
    } } });
  } catch (error) {
    complain(error);
  }
}

export async function copy(text, what) {
  try {
    await copyText(text);
    toast(t('copied', { what }));
  } catch (error) {
    complain(error);
  }
}

/* With the same settings: `changes` are what is different. */
async function paintAnew({ job, image }, changes) {
  if (job.params.has_init || job.params.controls?.length) {
    useSettings({ job, image });
    toast(t('its_pictures_are_not_kept'));
    return;
  }
  try {
    await painter.paintParams({ ...paramsOf({ job, image }), seed: image.seed,
      subseed: image.subseed, ...changes });
    scrollTo({ top: 0 });
  } catch (error) {
    complain(error);
  }
}

export const again = (picture) => paintAnew(picture, { seed: null, subseed: null, count: 1 });

export const paintLarger = (picture) => paintAnew(picture, { count: 1, hires_width: picture.job.params.width * 2,
  hires_height: picture.job.params.height * 2 });

/* Four that are near it: its noise, mixed with a fifth of another's. */
export const variations = (picture) => paintAnew(picture, { count: Math.min(4,
  store.info.limits.max_count), subseed: null, subseed_strength: 0.2 });
