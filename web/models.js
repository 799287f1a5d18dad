/* models.js: which models cannot be painted with and why, and model files that the server fetches.
 * Looked at only while the part is open, each second while something is under way. */
import { ApiError, get, post, remove } from './api.js';
import { $, arrange, complain, h, icon, setText } from './dom.js';
import { secondsText } from './queue.js';
import { store } from './store.js';

const LOOK_MS = 1000;
const rows = new Map(); /* pull id -> {element, ...parts} */
let timer;

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;

function wordsOf({ state, kind, bytes, total, rate, eta_seconds: eta, error }) {
  const size = total ? `${megabytes(bytes)} of ${megabytes(total)}` : megabytes(bytes);
  if (state === 'waiting')
    return 'Waiting';
  if (state === 'checking')
    return 'All there, being checked…';
  if (state === 'done')
    return [`Here: a file of kind ${kind ?? 'unknown'}`, error?.message].filter(Boolean).join(' · ');
  if (state === 'failed')
    return error?.message ?? 'Failed';
  if (state === 'stopped')
    return bytes ? `Stopped at ${size}` : 'Stopped';
  return [size, rate && `${megabytes(rate)} a second`, eta && `${secondsText(eta)} left`]
    .filter(Boolean).join(' · ');
}

function makeRow({ id, ref }) {
  const act = (run) => () => run().then(look).catch(complain);
  const row = {
    name: h('p', { class: 'label-prompt' }, ref),
    words: h('p', { class: 'now' }),
    bar: h('progress', { 'aria-label': 'Progress' }),
    stop: h('button', { onclick: act(() => post(`api/pulls/${id}/cancel`)) },
      icon('close'), 'Stop'),
    resume: h('button', { onclick: act(() => post(`api/pulls/${id}/resume`)) },
      icon('again'), 'Go on'),
    remove: h('button', { onclick: act(() => remove(`api/pulls/${id}`)) },
      icon('trash'), 'Remove'),
  };
  row.element = h('li', { class: 'job', 'data-pull': id }, h('div', { class: 'job-text' },
    row.name, row.words, row.bar, h('div', { class: 'job-buttons' },
      row.stop, row.resume, row.remove)));
  return row;
}

const isUnderWay = ({ state }) => ['waiting', 'fetching', 'checking'].includes(state);

function update(pull) {
  const row = rows.get(pull.id), active = isUnderWay(pull);
  setText(row.words, wordsOf(pull));
  row.bar.hidden = !active;
  if (pull.state === 'fetching' && pull.total)
    row.bar.value = pull.bytes / pull.total;
  else
    row.bar.removeAttribute('value');
  row.stop.hidden = !active;
  row.resume.hidden = !['failed', 'stopped'].includes(pull.state);
  row.remove.hidden = active;
}

function show({ pulls, catalogue }) {
  if (!$('pull-names').childElementCount)
    $('pull-names').append(...catalogue.map(({ name, family, megabytes: size, use }) =>
      h('option', { value: name }, `${family}, ${(size / 1000).toFixed(1)} GB: ${use}`)));
  for (const pull of pulls) {
    if (!rows.has(pull.id))
      rows.set(pull.id, makeRow(pull));
    update(pull);
  }
  arrange($('pulls'), pulls.map(({ id }) => rows.get(id).element));
}

function showProblems() {
  const bad = store.models.filter(({ problem }) => problem);
  $('model-problems').replaceChildren(...bad.map(({ name, problem }) =>
    h('li', {}, h('strong', {}, name), `: ${problem}`)));
  $('model-problems').hidden = !bad.length;
  setText($('models-summary'), bad.length
    ? `${bad.length} cannot be painted with` : '');
}

let underWay = new Set();

async function look() {
  clearTimeout(timer);
  if (!$('models').open)
    return;
  try {
    const list = await get('api/pulls');
    $('pull-form').hidden = false;
    show(list);
    const now = new Set(list.pulls.filter(isUnderWay).map(({ id }) => id));
    if ([...underWay].some((id) => !now.has(id)))
      await store.refreshModels();
    underWay = now;
    if (now.size)
      timer = setTimeout(look, LOOK_MS);
  } catch (error) {
    const denied = error instanceof ApiError && error.status === 403;
    $('pull-form').hidden = denied;
    setText($('pull-error'), denied ? '' : error.message);
    setText($('pull-denied'), denied ? 'Fetching models takes a key with the right to administer.' : '');
  }
}

$('models').addEventListener('toggle', look);
$('pull-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  setText($('pull-error'), '');
  try {
    await post('api/pulls', { ref: $('pull-ref').value.trim() });
    $('pull-ref').value = '';
    await look();
  } catch (error) {
    setText($('pull-error'), error.message);
  }
});
store.addEventListener('ready', () => {
  showProblems();
  look();
});
store.addEventListener('models', showProblems);
