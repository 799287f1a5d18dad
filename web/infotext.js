/* infotext.js: the text that pictor and the SD WebUI write into a PNG. What it means, the server
 * says.
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
