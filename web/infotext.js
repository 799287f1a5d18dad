/* infotext.js: the settings that pictor and the SD WebUI write into a PNG, as a request.
 *
 *     a red circle
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 7, Size: 256x256
 *
 * Files come from strangers: every length is held against the file, and at most TEXT_MAX bytes
 * of text are looked at. */

const TEXT_MAX = 128 * 1024;
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

/* The text of a tEXt or iTXt chunk whose keyword is "parameters", else null. Nobody compresses them. */
function textOf(type, data) {
  const end = data.indexOf(0);
  if (end < 0 || latin1(data.subarray(0, end)) !== 'parameters')
    return null;
  const rest = data.subarray(end + 1);
  if (type === 'tEXt')
    return latin1(rest);
  const language = rest.indexOf(0, 2);
  const keyword = language < 0 ? -1 : rest.indexOf(0, language + 1);
  return keyword < 0 || rest[0] !== 0 ? null : new TextDecoder().decode(rest.subarray(keyword + 1));
}

/* The `parameters` text of a PNG (a Blob); null when it is no PNG or has none. */
export async function readInfotext(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  if (bytes.length < 8 || SIGNATURE.some((byte, i) => bytes[i] !== byte))
    return null;
  for (let at = 8; at + 12 <= bytes.length;) {
    const size = view.getUint32(at), type = latin1(bytes.subarray(at + 4, at + 8));
    if (size > bytes.length - at - 12 || type === 'IEND')
      return null;
    const text = (type === 'tEXt' || type === 'iTXt') && size <= TEXT_MAX
      ? textOf(type, bytes.subarray(at + 8, at + 8 + size)) : null;
    if (text !== null)
      return text;
    at += size + 12;
  }
  return null;
}

function pairsOf(line) {
  const pairs = new Map();
  for (const [, key, value] of line.matchAll(/(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g))
    pairs.set(key, value.trim());
  return pairs;
}

/* The fields of docs/api.md that the text speaks of. `info`, `models`: what this server has. */
export function paramsOf(text, info, models) {
  const lines = text.trim().split('\n');
  const pairs = pairsOf(lines.at(-1));
  if (pairs.size < 3)
    pairs.clear();
  else
    lines.pop();
  const negative = lines.findIndex((line) => line.startsWith('Negative prompt:'));
  const split = negative < 0 ? lines.length : negative;
  const params = {
    prompt: lines.slice(0, split).join('\n').trim(),
    negative_prompt: lines.slice(split).join('\n').replace(/^Negative prompt:/, '').trim(),
  };
  const number = (name, key) => {
    const value = Number.parseFloat(pairs.get(key));
    if (Number.isFinite(value))
      params[name] = value;
  };
  const size = (width, height, key) => {
    const sides = /^(\d+)x(\d+)$/.exec(pairs.get(key) ?? '');
    if (sides && Number(sides[1]) > 0)
      [params[width], params[height]] = [Number(sides[1]), Number(sides[2])];
  };
  number('steps', 'Steps');
  number('guidance', 'CFG scale');
  number('seed', 'Seed');
  number('clip_skip', 'Clip skip');
  number('eta', 'Eta');
  number('subseed', 'Variation seed');
  number('subseed_strength', 'Variation seed strength');
  number('hires_steps', 'Hires steps');
  size('width', 'height', 'Size');
  size('hires_width', 'hires_height', 'Hires resize');
  const factor = Number.parseFloat(pairs.get('Hires upscale'));
  if (factor > 1 && params.width) {
    params.hires_width = Math.round(params.width * factor / 8) * 8;
    params.hires_height = Math.round(params.height * factor / 8) * 8;
  }
  number(params.hires_width ? 'hires_strength' : 'strength', 'Denoising strength');
  if (pairs.get('RNG') === 'CPU')
    params.rng = 'cpu';
  if (models.some((model) => model.name === pairs.get('Model')))
    params.model = pairs.get('Model');
  if (['Latent', 'Lanczos'].includes(pairs.get('Hires upscaler')))
    params.hires_upscaler = pairs.get('Hires upscaler');
  Object.assign(params, sampling(pairs, info));
  return params;
}

/* Older texts name both at once: "DPM++ 2M Karras". */
function sampling(pairs, info) {
  const name = pairs.get('Sampler') ?? '', label = pairs.get('Schedule type') ?? '';
  const same = (a, b) => a.toLowerCase() === b.toLowerCase();
  let sampler = info.samplers.find((known) => same(known.name, name));
  let scheduler = info.schedulers.find((known) => same(known.label, label) ||
                          same(known.name, label));
  for (const known of sampler ? [] : info.schedulers) {
    const both = info.samplers.find((s) => same(`${s.name} ${known.label}`, name));
    if (both)
      [sampler, scheduler] = [both, known];
  }
  return { sampler: sampler?.name, scheduler: scheduler?.name };
}
