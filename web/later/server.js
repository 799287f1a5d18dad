/* server.js: how the server does: what it paints with, what waits, what went wrong lately and what to
 * do about it, who may use it. Looked at anew every few seconds while the view is open. */
import { ApiError, get, getText, hasKey, post, setKey } from '../api.js';
import { $, complain, copyText, h, icon, plainWords, setText, toast } from '../dom.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { sizeText } from './sizes.js';

const LOOK_MS = 4000, ERRORS = 8;
/* What helps, by what the message says. */
const HELP = [
  [/memory|too large|at most .* pixels/i, 'Choose a smaller size or fewer pictures at once; “Free the memory” under Models helps, too.'],
  [/upstream|answer|connect|timed? ?out/i, 'The server that paints it elsewhere did not do it: see its name and key in pictor.ini, or paint with a model that is here.'],
  [/disk|room|space/i, 'Delete pictures that are not wanted, or give the data folder more room.'],
  [/there is no|not found|unknown/i, 'What it asks for is not here (any more): choose another under Models, or fetch it.'],
  [/worker|crash|ended|killed/i, 'The part that paints was started again. If it happens with one model only, its file may be damaged: fetch it again.'],
];
let part = null, timer, opened = false;

/* name{label="value"} number -> [{name, labels, value}] */
function readMetrics(text) {
  return [...text.matchAll(/^pictor_(\w+)(?:\{(.*?)\})? (\S+)$/gm)].map(([, name, labels = '', value]) => ({
    name, value: Number(value),
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, word]) => [key, word])) }));
}

const tile = (name, value, about) => h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value),
  about && h('dd', { class: 'now' }, about));

function showFigures(all) {
  const one = (name) => all.find((each) => each.name === name)?.value ?? 0;
  const jobs = (state) => all.find(({ name, labels }) => name === 'jobs' && labels.state === state)?.value ?? 0;
  const steps = one('steps_total'), each = steps ? one('step_seconds_total') / steps : 0;
  const ready = one('ready') === 1, failures = one('upstream_failures_total');
  const refused = all.filter(({ name, labels }) => name === 'http_requests_total' && labels.class === '5xx')
    .reduce((sum, { value }) => sum + value, 0);
  $('figures').replaceChildren(...[
    tile('Painter', ready ? (one('busy') ? 'at work' : 'ready') : 'starting',
      one('worker_starts_total') > 1 ? `started ${one('worker_starts_total')} times` : 'never failed'),
    tile('Waiting', String(jobs('queued')), jobs('running') ? `${jobs('running')} being painted` : 'nothing is being painted'),
    tile('Memory of the painter', one('worker_resident_bytes') ? sizeText(one('worker_resident_bytes')) : 'none',
      store.models.filter(({ loaded }) => loaded).map(({ title }) => title).join(', ') || 'no model loaded'),
    tile('Painted', String(one('pictures_total')), 'since the start'),
    tile('A step takes', each ? (each < 1 ? `${Math.round(each * 1000)} ms` : secondsText(each)) : 'not known yet',
      steps ? `over ${steps} steps` : ''),
    tile('Connections', String(one('http_connections')), refused ? `${refused} requests failed here` : 'no request failed here'),
    one('upstream_requests_total') > 0 && tile('Painted elsewhere', String(one('upstream_requests_total')),
      failures ? `${failures} failed` : 'none failed'),
  ].filter(Boolean));
}

function showUpstreams() {
  const far = store.models.filter(({ kind }) => kind === 'upstream');
  $('upstreams').hidden = far.length === 0;
  $('upstream-list').replaceChildren(...far.map(({ name, problem }) => h('li', {}, h('strong', {}, name), ' ',
    h('span', { class: problem ? 'error' : 'now' }, problem ?? 'as far as is known, it answers'))));
}

function makeFault({ id, params, error, finished_at: at, created_at: made }) {
  const message = error?.message ?? 'It failed';
  const help = HELP.find(([words]) => words.test(message))?.[1] ?? 'Try it again; if it stays so, the log of the server says more.';
  return h('li', { class: 'fault' }, h('p', { class: 'label-prompt' }, params.prompt || 'Without words'),
    h('p', { class: 'error' }, plainWords(message)), h('p', {}, help),
    h('p', { class: 'now' }, `${new Date(at ?? made).toLocaleString()} · ${params.model}`),
    h('button', { onclick: () => store.retry(id).then(() => toast('In the queue again')).catch(complain) }, icon('again'),
      'Try again'));
}

async function showFaults() {
  const { jobs } = await get(`api/jobs?state=failed&limit=${ERRORS}`);
  $('faults').replaceChildren(...jobs.map(makeFault));
  $('no-faults').hidden = jobs.length > 0;
}

/* ---- keys ---- */

async function revoke(key) {
  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'revoke-title', onclose: () => dialog.remove() },
    h('h2', { id: 'revoke-title' }, `Revoke the key of ${key.name}?`),
    h('p', {}, 'Whoever uses it is refused at once. That cannot be taken back; a new key can be made.'),
    h('div', { class: 'tools' }, h('button', { class: 'paint', onclick: async () => {
      dialog.close();
      await post(`api/keys/${key.id}/revoke`).then(showKeys, complain);
    } }, 'Revoke'), h('button', { class: 'quiet', onclick: () => dialog.close() }, 'Cancel')));
  document.body.append(dialog);
  dialog.showModal();
}

const day = (at) => new Date(at).toLocaleDateString();

async function showKeys() {
  try {
    const { keys } = await get('api/keys');
    const first = keys.length === 0;
    $('keys').hidden = first;
    setText($('keys-about'), first ? 'Nobody needs a key yet: whoever reaches this server may use it. With the first key that ends; it is '
      + 'remembered in this browser.' : 'Who has a key may paint and sees their own pictures; who may administer sees all, and this view.');
    $('key-admin').checked = $('key-admin').disabled = first;
    $('key-list').replaceChildren(...keys.map((key) => h('tr', { class: key.revoked_at ? 'gone' : '' },
      h('th', { scope: 'row' }, key.name), h('td', {}, key.admin ? 'administers' : 'paints'), h('td', {}, day(key.created_at)),
      h('td', {}, key.revoked_at ? `revoked ${day(key.revoked_at)}` : h('button', { class: 'quiet', onclick: () => revoke(key),
        'aria-label': `Revoke the key of ${key.name}` }, 'Revoke')))));
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403))
      throw error;
  }
}

async function addKey(event) {
  event.preventDefault();
  setText($('key-add-error'), '');
  if (!$('key-name').value.trim()) {
    setText($('key-add-error'), 'Say whose key it is');
    $('key-name').focus();
    return;
  }
  const first = $('keys').hidden, admin = $('key-admin').checked;
  try {
    const made = await post('api/keys', { name: $('key-name').value.trim(), admin });
    $('key-name').value = '';
    if (first && !hasKey())
      setKey(made.key, true);
    $('new-key').hidden = false;
    setText($('new-key-text'), made.key);
    setText($('new-key-name'), `The key of ${made.name}. It is shown this once: `);
    $('new-key').querySelector('button').focus();
    if (first)
      store.reconnect();
    await showKeys();
  } catch (error) {
    setText($('key-add-error'), plainWords(error.message));
    $('key-name').focus();
  }
}

function makeKeys() {
  return h('section', { class: 'panel', 'aria-labelledby': 'keys-title' }, h('h3', { id: 'keys-title' }, 'Keys'),
    h('p', { id: 'keys-about', class: 'now' }),
    h('div', { class: 'scroll' }, h('table', { id: 'keys' }, h('thead', {}, h('tr', {}, ...['Name', 'May', 'Made', ''].map((words) =>
      words ? h('th', { scope: 'col' }, words) : h('td', {})))), h('tbody', { id: 'key-list' }))),
    h('p', { id: 'new-key', class: 'new-key', hidden: true }, h('span', { id: 'new-key-name' }), h('code', { id: 'new-key-text' }),
      h('button', { onclick: () => copyText($('new-key-text').textContent).then(() => toast('Key copied'), complain) },
        icon('copy'), 'Copy')),
    h('form', { class: 'key-form', 'aria-label': 'Make a key', novalidate: true, onsubmit: addKey },
      h('div', { class: 'field' }, h('label', { for: 'key-name' }, 'A key for'),
        h('input', { id: 'key-name', maxlength: 64, autocomplete: 'off', 'aria-describedby': 'key-add-error' })),
      h('label', { class: 'check' }, h('input', { id: 'key-admin', type: 'checkbox' }), 'May administer'),
      h('button', { type: 'submit' }, icon('plus'), 'Make a key'),
      h('p', { id: 'key-add-error', class: 'error', role: 'alert' })));
}

/* ---- the view ---- */

function make() {
  part.append(h('p', { id: 'server-about', class: 'lead' }), h('p', { id: 'server-denied', class: 'lead', hidden: true },
    'This view takes a key with the right to administer.'),
  h('div', { id: 'server-parts', class: 'server-parts', hidden: true },
    h('dl', { id: 'figures', class: 'tiles' }),
    h('section', { id: 'upstreams', class: 'panel', 'aria-labelledby': 'upstreams-title', hidden: true },
      h('h3', { id: 'upstreams-title' }, 'Painted elsewhere'), h('ul', { id: 'upstream-list' })),
    h('section', { class: 'panel', 'aria-labelledby': 'faults-title' }, h('h3', { id: 'faults-title' }, 'What went wrong lately'),
      h('p', { id: 'no-faults', class: 'now', hidden: true }, 'Nothing.'), h('ol', { id: 'faults', class: 'faults' })),
    makeKeys()));
}

async function look() {
  clearTimeout(timer);
  if (!opened)
    return;
  try {
    const text = await getText('metrics');
    $('server-parts').hidden = false;
    $('server-denied').hidden = true;
    showFigures(readMetrics(text));
    showUpstreams();
    await showFaults();
  } catch (error) {
    const denied = error instanceof ApiError && error.status === 403;
    $('server-denied').hidden = !denied;
    $('server-parts').hidden = denied;
    setText($('server-about'), denied ? '' : error.message);
  }
  timer = setTimeout(look, LOOK_MS);
}

export async function open(section) {
  if (!part) {
    part = section;
    make();
    store.addEventListener('ready', look);
  }
  opened = true;
  setText($('server-about'), store.info ? `pictor ${store.info.version}` : '');
  await look();
  if (!$('server-parts').hidden)
    await showKeys();
}

export function close() {
  opened = false;
  clearTimeout(timer);
}
