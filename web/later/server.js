/* server.js: how the server does: what it paints with, what waits, what went wrong lately and what to
 * do about it, who may use it. Looked at anew every few seconds while the view is open. */
import { ApiError, get, getText, hasKey, post, setKey } from '../api.js';
import { $, complain, copyText, h, icon, plainWords, setText, toast } from '../dom.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { dayText, momentText, numberText, t } from '../text.js';
import { ask as askLimits } from './limits.js';
import { sizeText } from './sizes.js';
import { makeUsage, showUsage } from './usage.js';
import { makeWorkers, showWorkers } from './workers.js';

const LOOK_MS = 4000, ERRORS = 8;
/* What helps, by what the message says. */
const HELP = [
  [/memory|too large|at most .* pixels/i, t('choose_a_smaller_size_or')],
  [/upstream|answer|connect|timed? ?out/i, t('the_server_that_paints')],
  [/disk|room|space/i, t('delete_pictures_that_are_not')],
  [/there is no|not found|unknown/i, t('what_it_asks_for')],
  [/worker|crash|ended|killed/i, t('the_part_that_paints_was')],
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
    tile(t('painter'), ready ? (one('busy') ? t('at_work') : t('is_ready')) : t('is_starting'),
      one('worker_starts_total') > 1 ? t('started_times', { n: one('worker_starts_total') }) : t('never_failed')),
    tile(t('waiting'), numberText(jobs('queued')), jobs('running') ? t('n_being_painted', { n: jobs('running') }) : t('nothing_being_painted')),
    tile(t('memory_of_the_painter'), one('worker_resident_bytes') ? sizeText(one('worker_resident_bytes')) : t('no_memory'),
      store.models.filter(({ loaded }) => loaded).map(({ title }) => title).join(', ') || t('no_model_loaded')),
    tile(t('painted'), numberText(one('pictures_total')), t('since_the_start')),
    tile(t('a_step_takes'), each ? (each < 1 ? t('milliseconds', { n: Math.round(each * 1000) }) : secondsText(each)) : t('not_known_yet'),
      steps ? t('over_steps', { n: steps }) : ''),
    tile(t('connections'), numberText(one('http_connections')), refused ? t('n_requests_failed', { n: refused }) : t('no_request_failed_here')),
    one('upstream_requests_total') > 0 && tile(t('painted_elsewhere'), numberText(one('upstream_requests_total')),
      failures ? t('n_failed', { n: failures }) : t('none_failed')),
  ].filter(Boolean));
}

function showUpstreams() {
  const far = store.models.filter(({ kind }) => kind === 'upstream');
  $('upstreams').hidden = far.length === 0;
  $('upstream-list').replaceChildren(...far.map(({ name, problem }) => h('li', {}, h('strong', {}, name), ' ',
    h('span', { class: problem ? 'error' : 'now' }, problem ?? t('as_far_as_is_known')))));
}

function makeFault({ id, params, error, finished_at: at, created_at: made }) {
  const message = error?.message ?? t('failed_somehow');
  const help = HELP.find(([words]) => words.test(message))?.[1] ?? t('try_it_again_if');
  return h('li', { class: 'fault' }, h('p', { class: 'label-prompt' }, params.prompt || t('without_words')),
    h('p', { class: 'error' }, plainWords(message)), h('p', {}, help),
    h('p', { class: 'now' }, `${momentText(at ?? made)} · ${params.model}`),
    h('button', { onclick: () => store.retry(id).then(() => toast(t('in_the_queue_again'))).catch(complain) }, icon('again'),
      t('try_again')));
}

async function showFaults() {
  const { jobs } = await get(`api/jobs?state=failed&limit=${ERRORS}`);
  $('faults').replaceChildren(...jobs.map(makeFault));
  $('no-faults').hidden = jobs.length > 0;
}

/* ---- keys ---- */

async function revoke(key) {
  const dialog = h('dialog', { class: 'sheet', 'aria-labelledby': 'revoke-title', onclose: () => dialog.remove() },
    h('h2', { id: 'revoke-title' }, t('revoke_it', { name: key.name })),
    h('p', {}, t('whoever_uses_it_is_refused')),
    h('div', { class: 'tools' }, h('button', { class: 'paint', onclick: async () => {
      dialog.close();
      await post(`api/keys/${key.id}/revoke`).then(showKeys, complain);
    } }, t('revoke')), h('button', { class: 'quiet', onclick: () => dialog.close() }, t('cancel'))));
  document.body.append(dialog);
  dialog.showModal();
}

/* What it takes up now. */
const useOf = ({ use }) => (use ? [use.running > 0 && t('n_being_painted', { n: use.running }), use.queued > 0 && t('n_waiting', { n: use.queued }),
  use.input_bytes > 0 && t('to_paint_over', { size: sizeText(use.input_bytes) }),
  use.files > 0 && t('n_files', { n: use.files, size: sizeText(use.files_bytes) })].filter(Boolean).join(', ') || t('nothing') : '');

async function showKeys() {
  try {
    const { keys, limits } = await get('api/keys');
    setText($('keys-limits'), t('limits_of_keys', { queue: limits.queue, inputs: sizeText(limits.input_bytes),
      files: sizeText(limits.files_bytes), open: limits.open_requests,
      minute: limits.requests_per_minute ? t('a_minute', { n: limits.requests_per_minute }) : t('any_number') }));
    $('keys-limits').hidden = keys.length === 0;
    const first = keys.length === 0;
    $('keys').hidden = first;
    setText($('keys-about'), first ? t('no_keys_yet') : t('who_has_a_key_may'));
    $('key-admin').checked = $('key-admin').disabled = first;
    $('key-list').replaceChildren(...keys.map((key) => h('tr', { class: key.revoked_at ? 'gone' : '' },
      h('th', { scope: 'row' }, key.name), h('td', {}, key.admin ? t('administers') : t('paints')), h('td', {}, useOf(key)), h('td', {}, dayText(key.created_at)),
      h('td', {}, key.revoked_at ? t('revoked_on', { day: dayText(key.revoked_at) }) : h('div', { class: 'key-acts' },
        'weight' in key && h('button', { class: 'quiet', onclick: () => askLimits(key, showKeys), 'aria-label': t('limits_of', { name: key.name }) }, t('limits')),
        h('button', { class: 'quiet', onclick: () => revoke(key),
        'aria-label': t('revoke_key_of', { name: key.name }) }, t('revoke')))))));
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403))
      throw error;
  }
}

async function addKey(event) {
  event.preventDefault();
  setText($('key-add-error'), '');
  if (!$('key-name').value.trim()) {
    setText($('key-add-error'), t('say_whose_key'));
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
    setText($('new-key-name'), t('key_of', { name: made.name }));
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
  return h('section', { class: 'panel', 'aria-labelledby': 'keys-title' }, h('h3', { id: 'keys-title' }, t('keys')),
    h('p', { id: 'keys-about', class: 'now' }),
    h('div', { class: 'scroll' }, h('table', { id: 'keys' }, h('thead', {}, h('tr', {}, ...[t('name'), t('may'), t('uses_now'), t('made'), ''].map((words) =>
      words ? h('th', { scope: 'col' }, words) : h('td', {})))), h('tbody', { id: 'key-list' }))),
    h('p', { id: 'keys-limits', class: 'now', hidden: true }),
    h('p', { id: 'new-key', class: 'new-key', hidden: true }, h('span', { id: 'new-key-name' }), h('code', { id: 'new-key-text' }),
      h('button', { onclick: () => copyText($('new-key-text').textContent).then(() => toast(t('copied', { what: t('key') })), complain) },
        icon('copy'), t('copy'))),
    h('form', { class: 'key-form', 'aria-label': t('make_a_key'), novalidate: true, onsubmit: addKey },
      h('div', { class: 'field' }, h('label', { for: 'key-name' }, t('a_key_for')),
        h('input', { id: 'key-name', maxlength: 64, autocomplete: 'off', 'aria-describedby': 'key-add-error' })),
      h('label', { class: 'check' }, h('input', { id: 'key-admin', type: 'checkbox' }), t('may_administer')),
      h('button', { type: 'submit' }, icon('plus'), t('make_a_key')),
      h('p', { id: 'key-add-error', class: 'error', role: 'alert' })));
}

/* ---- the view ---- */

function make() {
  part.append(h('p', { id: 'server-about', class: 'lead' }), h('p', { id: 'server-denied', class: 'lead', hidden: true },
    t('this_view_takes_a_key')),
  h('div', { id: 'server-parts', class: 'server-parts', hidden: true },
    h('dl', { id: 'figures', class: 'tiles' }),
    makeWorkers(),
    h('section', { id: 'upstreams', class: 'panel', 'aria-labelledby': 'upstreams-title', hidden: true },
      h('h3', { id: 'upstreams-title' }, t('painted_elsewhere')), h('ul', { id: 'upstream-list' })),
    h('section', { class: 'panel', 'aria-labelledby': 'faults-title' }, h('h3', { id: 'faults-title' }, t('what_went_wrong_lately')),
      h('p', { id: 'no-faults', class: 'now', hidden: true }, t('nothing_wrong')), h('ol', { id: 'faults', class: 'faults' })),
    makeKeys()), makeUsage());
}

async function look() {
  clearTimeout(timer);
  if (!opened)
    return;
  try {
    const [text] = await Promise.all([getText('metrics'), showWorkers(), showFaults()]);
    $('server-parts').hidden = false;
    $('server-denied').hidden = true;
    showFigures(readMetrics(text));
    showUpstreams();
  } catch (error) {
    const denied = error instanceof ApiError && error.status === 403;
    $('server-denied').hidden = !denied;
    $('server-parts').hidden = denied;
    setText($('server-about'), denied ? '' : error.message);
  }
  timer = setTimeout(look, LOOK_MS);
}

async function refresh() {
  if (store.info.keys_required && !hasKey())
    return; /* it is being asked for */
  await Promise.all([look(), showUsage()]);
  if (!$('server-parts').hidden)
    await showKeys();
}

export async function open(section) {
  if (!part) {
    part = section;
    make();
    store.addEventListener('ready', () => opened && refresh().catch(complain));
  }
  opened = true;
  setText($('server-about'), store.info ? `pictor ${store.info.version}` : '');
  if (store.info)
    await refresh();
}

export function close() {
  opened = false;
  clearTimeout(timer);
}
