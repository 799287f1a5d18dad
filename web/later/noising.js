/* noising.js: a picture as models are shown it when they learn: mixed with noise, more from step to step,
 * until nothing of it is left. Worked out here, on the picture's colours; a model that paints in latents
 * does this with its latents. */

const STEPS = 1000, FIRST = 0.00085, LAST = 0.012; /* Stable Diffusion's schedule: the square roots of its betas are even */
const FLOWS = /^(flux|sd3|z-?image|zimage|qwen)/;

const share = (() => { /* of step t: the product of 1 - beta up to it (Ho et al. 2020, eq. 4) */
  const product = new Float64Array(STEPS + 1);
  product[0] = 1;
  for (let t = 1; t <= STEPS; t++)
    product[t] = product[t - 1] * (1 - (Math.sqrt(FIRST) + (Math.sqrt(LAST) - Math.sqrt(FIRST)) * (t - 1) / (STEPS - 1)) ** 2);
  return product;
})();

/* How much of the picture and of the noise there is at step t, of STEPS. */
export function mix(t, architecture) {
  if (FLOWS.test(architecture)) /* straight from the one to the other (Liu et al. 2022) */
    return { picture: 1 - t / STEPS, noise: t / STEPS };
  return { picture: Math.sqrt(share[t]), noise: Math.sqrt(1 - share[t]) };
}

export const isFlow = (architecture) => FLOWS.test(architecture);

/* Normal numbers (Box and Muller), each time the same ones. */
function normals(count) {
  let state = 7;
  const even = () => { /* mulberry32 */
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - even())) * Math.cos(2 * Math.PI * even()));
}

export class Noising {
  #pixels;
  #noise;

  constructor(bitmap, most) {
    const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
    this.width = Math.max(1, Math.round(bitmap.width * scale));
    this.height = Math.max(1, Math.round(bitmap.height * scale));
    const sheet = new OffscreenCanvas(this.width, this.height), context = sheet.getContext('2d');
    context.drawImage(bitmap, 0, 0, this.width, this.height);
    this.#pixels = context.getImageData(0, 0, this.width, this.height).data;
    this.#noise = normals(this.#pixels.length);
  }

  /* At step t, on a canvas; colours are -1..1 for this, as models have them. */
  draw(canvas, t, architecture) {
    const { picture, noise } = mix(t, architecture), image = new ImageData(this.width, this.height);
    for (let i = 0; i < image.data.length; i++)
      image.data[i] = i % 4 === 3 ? 255
        : ((this.#pixels[i] / 127.5 - 1) * picture + this.#noise[i] * noise + 1) * 127.5;
    canvas.width = this.width;
    canvas.height = this.height;
    canvas.getContext('2d').putImageData(image, 0, 0);
  }
}
