/* api.js: every request to the server, in one place.
 *
 * Addresses are relative, so the page works below any path of a proxy. The key goes in a header,
 * never in an address; that is why event streams are read with fetch, and why pictures become blobs
 * when there is a key: neither EventSource nor <img> can send a header. */
import { KEY, forget, storedKey, take } from './early.js';
import { t } from './text.js';

const SILENCE_MS = 40000; /* the server says something every 15 s */

export class ApiError extends Error {
  constructor(status, code, message, param = null, retryAfter = null) {
    super(message);
    Object.assign(this, { name: 'ApiError', status, code, param, retryAfter });
  }
}

let key = storedKey;

export const hasKey = () => Boolean(key);

/* `keep`: beyond this tab. */
export function setKey(value, keep = false) {
  key = value;
  forget();
  for (const storage of [sessionStorage, localStorage])
    storage.removeItem(KEY);
  if (key)
    (keep ? localStorage : sessionStorage).setItem(KEY, key);
}

/* Whole numbers that JavaScript does not hold to the last digit (seeds have 64 bits) become text. */
function parse(json) {
  return JSON.parse(!/\d{16}/.test(json) ? json : json.replace(
    /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g, (token) =>
      /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token));
}

const jsonOf = async (response) => parse(await response.text());

async function errorOf(response) {
  const retryAfter = Number(response.headers.get('Retry-After')) || null;
  try {
    const { code, message, param } = (await jsonOf(response)).error;
    return new ApiError(response.status, code, message, param, retryAfter);
  } catch {
    const text = t('server_answered', { status: `${response.status} ${response.statusText}`.trim() });
    return new ApiError(response.status, 'internal', text, null, retryAfter);
  }
}

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (key)
    headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await options.early?.catch(() => null) ?? await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError')
      throw error;
    throw new ApiError(0, 'io', t('the_server_does_not_answer'));
  }
  if (!response.ok)
    throw await errorOf(response);
  return response;
}

export async function get(path) {
  return jsonOf(await send(path, { early: take(path)?.answer }));
}

export const getText = async (path) => (await send(path)).text();

const asked = (body) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/* `keepalive` lets it survive the page that asked. */
export async function post(path, body, keepalive = false) {
  const response = await send(path, { keepalive, ...asked(body ?? {}) });
  return response.status === 204 ? null : jsonOf(response);
}

export const put = async (path, body) => jsonOf(await send(path, { ...asked(body), method: 'PUT' }));

export async function remove(path) {
  await send(path, { method: 'DELETE' });
}

/* Connects (with `body`, if there is one), then returns an async iterator of {event, data}; it ends when the server ends it and
 * throws when the connection breaks or falls silent. */
export async function openEvents(path, body) {
  const early = take(path), abort = early?.abort ?? new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), SILENCE_MS);
  };
  alive();
  const response = await send(path, { early: early?.answer, signal: abort.signal, ...(body && asked(body)) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();

  async function* read() {
    let rest = '';
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done)
          return;
        alive();
        const blocks = (rest + value).split('\n\n');
        rest = blocks.pop();
        for (const block of blocks) {
          const event = parseEvent(block);
          if (event)
            yield event;
        }
      }
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }
  return { events: read(), close: () => abort.abort() };
}

function parseEvent(block) {
  let event = 'message', data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: '))
      event = line.slice(7);
    else if (line.startsWith('data: '))
      data += line.slice(6);
  }
  return data && { event, data: parse(data) };
}

/* ---- pictures ---- */

export const imagePath = (id) => `api/images/${encodeURIComponent(id)}`;

export async function imageBlob(id) {
  return (await send(imagePath(id))).blob();
}

const blobs = new Map(); /* path -> promise of an object URL, while there is a key */

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting)
      continue;
    near.unobserve(target);
    fill(target, target.dataset.path);
  }
}, { rootMargin: '600px' });

/* A picture that did not come (its server restarts, or is busy) is asked for again, later each
 * time, for four minutes while `element` still stands for it. */
async function fill(element, path, tries = 1) {
  element.onerror = () => {
    if (tries < 8)
      setTimeout(() => {
        if (element.isConnected && element.dataset.path === path)
          fill(element, path, tries + 1);
      }, 1000 * 2 ** tries);
  };
  if (!key) {
    element.src = path;
    return;
  }
  if (!blobs.has(path))
    blobs.set(path, send(path).then((answer) => answer.blob()).then((blob) =>
      URL.createObjectURL(blob)));
  try {
    const url = await blobs.get(path);
    if (element.dataset.path === path)
      element.src = url;
  } catch {
    blobs.delete(path);
    element.onerror();
  }
}

/* Shows picture `id` in an <img>, as it is and at once, or a small one of it when it is in sight. */
export function showImage(element, id, whole = false) {
  const path = whole ? imagePath(id) : `${imagePath(id)}/thumb`;
  element.dataset.path = path;
  element.loading = whole ? 'eager' : 'lazy';
  if (key && !whole)
    near.observe(element);
  else
    fill(element, path);
}

/* Shows the picture at a path of the server's in an <img>; one that does not come is taken away. */
export async function showPicture(element, path) {
  element.loading = 'lazy';
  element.onerror = () => element.remove();
  if (!key) {
    element.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    element.onload = () => URL.revokeObjectURL(url);
    element.src = url;
  } catch {
    element.remove();
  }
}

export async function forgetImage(id) {
  for (const path of [imagePath(id), `${imagePath(id)}/thumb`]) {
    const url = blobs.get(path);
    blobs.delete(path);
    if (url)
      URL.revokeObjectURL(await url.catch(() => ''));
  }
}

/* An address that saves the picture when followed. */
export async function downloadUrl(id) {
  return key ? URL.createObjectURL(await imageBlob(id)) : imagePath(id);
}
