/* sw.js: keeps the page's own files, so that it opens while the server is down, and says so then. Nothing
 * of the API passes through here: no picture, no job, no key. Files under a release's address never
 * change; those of older releases go when a newer page has come. */
const KEPT = 'pictor', WAIT_MS = 4000;
const scope = new URL(self.registration.scope);
const isFile = (url) => url.origin === scope.origin && url.pathname.startsWith(`${scope.pathname}web/@`);
const isPage = (request, url) => request.mode === 'navigate' && url.pathname === scope.pathname;

/* The page and all that it names. */
async function keep(response) {
  const kept = await caches.open(KEPT), text = await response.clone().text();
  const files = [...new Set(text.match(/web\/@[\w/.-]+/g) ?? [])].map((path) => new URL(path, scope).href);
  const release = files[0]?.match(/web\/@\w+/)?.[0];
  if (!release)
    return;
  await kept.put(scope.href, response);
  for (const request of await kept.keys())
    if (request.url !== scope.href && !request.url.includes(`${release}/`))
      await kept.delete(request);
  for (const url of files)
    if (!await kept.match(url))
      await kept.add(url);
}

/* Keeping what comes goes on behind the page, which does not wait for it. */
async function page(event) {
  const { request } = event, kept = await caches.match(scope.href);
  try {
    const response = await fetch(request, kept ? { signal: AbortSignal.timeout(WAIT_MS) } : {});
    if (response.ok)
      event.waitUntil(keep(response.clone()).catch(() => {})); /* no room: the page is there nevertheless */
    return response.status >= 502 && kept ? kept : response; /* a proxy whose server is down */
  } catch (error) {
    if (kept)
      return kept;
    throw error;
  }
}

async function file(request) {
  const found = await caches.match(request.url);
  if (found)
    return found;
  const response = await fetch(request), copy = response.clone();
  if (response.ok)
    caches.open(KEPT).then((kept) => kept.put(request.url, copy)).catch(() => {});
  return response;
}

self.addEventListener('install', (event) => event.waitUntil(fetch(scope.href).then((response) =>
  response.ok && keep(response)).then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== 'GET')
    return;
  if (isPage(request, url))
    event.respondWith(page(event));
  else if (isFile(url))
    event.respondWith(file(request));
});
