/* pulls.js: model files that the server fetches. Looked at only while the view of models is open, each
 * second while something is under way. */
import { ApiError, get, post, remove } from '../api.js';
import { $, arrange, complain, h, icon, setText } from '../dom.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { fixed, t } from '../text.js';

const LOOK_MS = 1000;
const rows = new Map(); /* pull id -> {element, ...parts} */
let timer;

const megabytes = (bytes) => t('megabytes', { n: fixed(bytes / 1e6, bytes < 1e8 ? 1 : 0) });

function wordsOf({ state, kind, bytes, total, rate, eta_seconds: eta, error }) {
  const size = total ? t('n_of', { n: megabytes(bytes), all: megabytes(total) }) : megabytes(bytes);
  if (state === 'waiting')
    return t('waiting');
  if (state === 'checking')
    return t('all_there_being_checked');
  if (state === 'done')
    return [t('here_kind', { kind: kind ?? t('unknown_kind') }), error?.message].filter(Boolean).join(' · ');
  if (state === 'failed')
    return error?.message ?? t('failed');
  if (state === 'stopped')
    return bytes ? t('stopped_at', { size }) : t('stopped');
  return [size, rate && t('a_second', { size: megabytes(rate) }), eta && t('left', { time: secondsText(eta) })]
    .filter(Boolean).join(' · ');
}

function makeRow({ id, ref }) {
  const act = (run) => () => run().then(look).catch(complain);
  const row = {
    name: h('p', { class: 'label-prompt' }, ref),
    words: h('p', { class: 'now' }),
    bar: h('progress', { 'aria-label': t('progress') }),
    stop: h('button', { onclick: act(() => post(`api/pulls/${id}/cancel`)) },
      icon('close'), t('stop')),
    resume: h('button', { onclick: act(() => post(`api/pulls/${id}/resume`)) },
      icon('again'), t('go_on')),
    remove: h('button', { onclick: act(() => remove(`api/pulls/${id}`)) },
      icon('trash'), t('remove')),
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

/* What there is under short names: each is fetched by a press. */
const gigabytes = (size) => t('gigabytes', { n: fixed(size / 1000, 1) });

/* What comes with it, each with its size and licence. */
function partsOf(needs, catalogue) {
  return needs.map((name) => catalogue.find((ware) => ware.name === name)).filter(Boolean)
    .map(({ name, megabytes: size, licence }) => `${name} (${gigabytes(size)}, ${licence})`).join(', ');
}

function makeWare({ name, family, megabytes: size, use, licence, needs }, _, catalogue) {
  return h('li', { class: 'file ware' }, h('div', { class: 'file-text' },
    h('h3', { class: 'label-prompt' }, name),
    h('p', { class: 'now' }, [family ?? t('part_of_a_model'), gigabytes(size), licence].filter(Boolean).join(' · ')),
    h('p', {}, use),
    needs.length ? h('p', { class: 'now' }, t('with_parts', { parts: partsOf(needs, catalogue) })) : null,
    h('div', { class: 'job-buttons' }, h('button', { 'aria-label': t('fetch_it', { name }),
      onclick: () => fetchIt(name) }, icon('download'), t('fetch')))));
}

function show({ pulls, catalogue }) {
  if (!$('wares').childElementCount) {
    $('wares').append(...catalogue.map(makeWare));
    $('pull-names').append(...catalogue.map(({ name, use }) => h('option', { value: name }, use)));
  }
  for (const pull of pulls) {
    if (!rows.has(pull.id))
      rows.set(pull.id, makeRow(pull));
    update(pull);
  }
  arrange($('pulls'), pulls.map(({ id }) => rows.get(id).element));
}

let underWay = new Set(), opened = false;

async function look() {
  clearTimeout(timer);
  if (!opened)
    return;
  try {
    const list = await get('api/pulls');
    $('pull-form').hidden = $('catalogue').hidden = false;
    show(list);
    const now = new Set(list.pulls.filter(isUnderWay).map(({ id }) => id));
    if ([...underWay].some((id) => !now.has(id)))
      await store.refreshModels();
    underWay = now;
    if (now.size)
      timer = setTimeout(look, LOOK_MS);
  } catch (error) {
    const denied = error instanceof ApiError && error.status === 403;
    $('pull-form').hidden = $('catalogue').hidden = denied;
    setText($('pull-error'), denied ? '' : error.message);
    setText($('pull-denied'), denied ? t('fetching_models_takes_a_key') : '');
  }
}

async function fetchIt(ref) {
  setText($('pull-error'), '');
  try {
    await post('api/pulls', { ref });
    $('pull-ref').value = '';
    await look();
    $('pulls').scrollIntoView({ block: 'center' });
  } catch (error) {
    setText($('pull-error'), error.message);
    $('pull-ref').focus();
  }
}

export function makePulls() {
  const ask = (event) => {
    event.preventDefault();
    fetchIt($('pull-ref').value.trim());
  };
  return h('div', { class: 'fetching' },
    h('h2', {}, t('get_another')),
    h('form', { id: 'pull-form', class: 'field', 'aria-label': t('fetch_a_model'), novalidate: true, hidden: true,
      onsubmit: ask },
    h('label', { for: 'pull-ref' }, t('fetch_a_model'), ' ', h('small', {}, t('or_a_lora_a_vae'))),
    h('div', { class: 'with-buttons' },
      h('input', { id: 'pull-ref', list: 'pull-names', maxlength: 1023, autocomplete: 'off', spellcheck: 'false',
        placeholder: 'sd15, hf:OWNER/REPO, civitai:VERSION, https://…', 'aria-describedby': 'pull-error' }),
      h('datalist', { id: 'pull-names' }),
      h('button', { type: 'submit' }, icon('download'), t('fetch'))),
    h('p', { id: 'pull-error', class: 'error', role: 'alert' })),
    h('p', { id: 'pull-denied' }),
    h('ol', { id: 'pulls', class: 'queue-list', 'aria-label': t('fetched_models') }),
    h('div', { id: 'catalogue', hidden: true }, h('h3', {}, t('models_to_begin')),
      h('ol', { id: 'wares', class: 'files' })));
}

export function open() {
  opened = true;
  look();
}

export function close() {
  opened = false;
  clearTimeout(timer);
}
