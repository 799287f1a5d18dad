/* workers.js: who paints, one by one: the worker beside each server and those on other machines, with what
 * it does now, what it has, and when it was last heard of. */
import { get } from '../api.js';
import { $, h } from '../dom.js';
import { secondsText } from '../queue.js';
import { store } from '../store.js';
import { momentText, t } from '../text.js';
import { sizeText } from './sizes.js';

const STATES = { starting: t('is_starting'), idle: t('is_ready'), painting: t('at_work'), away: t('is_away') };
const JUST_NOW = 10, LONG_AGO = 3600; /* seconds */
const MOST = 6; /* models that are named */

export const makeWorkers = () => h('section', { id: 'workers', class: 'panel whole', 'aria-labelledby': 'workers-title', hidden: true },
  h('h3', { id: 'workers-title' }, t('who_paints')), h('ul', { id: 'worker-list', class: 'workers' }));

function seenText(at, now = Date.now()) {
  const seconds = (now - at) / 1000;
  return at === null ? null : seconds < JUST_NOW ? t('just_now') : seconds < LONG_AGO ? t('ago', { time: secondsText(seconds) }) : momentText(at);
}

/* Those in memory first. */
function modelsText({ models, warm }) {
  const titleOf = (name) => store.models.find((each) => each.name === name)?.title ?? name;
  const all = [...(warm ?? []).map((name) => t('in_memory_is', { model: titleOf(name) })),
    ...(models ?? []).filter((name) => !warm?.includes(name)).map(titleOf)];
  const named = all.slice(0, MOST).join(', ');
  return all.length > MOST ? t('and_more', { models: named, n: all.length - MOST }) : named || t('no_models');
}

const doesText = ({ state, job }) => (state === 'painting' ? store.jobs.get(job)?.params.prompt || t('some_picture') : t('nothing'));

function rowOf(worker) {
  const { name, local, host, state, memory, disk, device, seconds_per_step: step, seen_at: seen, version } = worker;
  const facts = [
    [t('paints_now'), doesText(worker)],
    [t('models'), modelsText(worker)],
    [t('memory'), memory && sizeText(memory)],
    [t('room_for_files'), !local && disk && sizeText(disk)],
    [t('a_step_takes'), step && (step < 1 ? t('milliseconds', { n: Math.round(step * 1000) }) : secondsText(step))],
    [t('last_heard_of'), seenText(seen)],
    [t('machine'), [!local && host !== name && host, device, version && version !== store.info.version && version].filter(Boolean).join(' · ')],
  ].filter(([, value]) => value);
  return h('li', { class: `worker ${state}`, 'data-worker': worker.id },
    h('p', { class: 'worker-name' }, h('strong', {}, (local && host) || name), ' ', h('span', { class: `tag ${state === 'away' ? 'bad' : state === 'starting' ? '' : 'good'}` },
      STATES[state] ?? state), ' ', h('span', { class: 'now' }, t(local ? 'beside_the_server' : 'on_another_machine'))),
    h('dl', { class: 'worker-facts' }, ...facts.map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value)))));
}

export async function showWorkers() {
  const { workers } = await get('api/workers');
  $('workers').hidden = workers.length === 0;
  $('worker-list').replaceChildren(...workers.map(rowOf));
}
