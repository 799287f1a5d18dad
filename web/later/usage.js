/* usage.js: what keys have used in the last 30 days, a bar a day and a line for each key and model; and how
 * one with limits stands. */
import { ApiError, get } from '../api.js';
import { $, h, setText } from '../dom.js';
import { secondsText } from '../queue.js';
import { dayText, momentText, numberText, t } from '../text.js';

const DAYS = 30, DAY_MS = 86400000;
const dayOf = (at) => new Date(at).toISOString().slice(0, 10);

/* {name, pictures, jobs, failed, seconds, money} of rows that have the same of `keys`. */
function sums(rows, keys) {
  const found = new Map();
  for (const row of rows) {
    const key = keys.map((name) => row[name]).join('\n');
    const sum = found.get(key) ?? { ...row, pictures: 0, jobs: 0, failed: 0, seconds: 0, money: 0 };
    for (const name of ['pictures', 'jobs', 'failed', 'seconds', 'money'])
      sum[name] += row[name] ?? 0;
    found.set(key, sum);
  }
  return [...found.values()];
}

function showDays(rows, today) {
  const byDay = new Map(sums(rows, ['day']).map((sum) => [sum.day, sum]));
  const days = Array.from({ length: DAYS }, (_, i) => dayOf(today - (DAYS - 1 - i) * DAY_MS));
  const most = Math.max(1, ...days.map((day) => byDay.get(day)?.pictures ?? 0));
  $('usage-days').replaceChildren(...days.map((day) => {
    const count = byDay.get(day)?.pictures ?? 0, said = `${dayText(day)}: ${t('pictures', { n: count })}`;
    const bar = h('span', { 'aria-hidden': 'true' });
    bar.style.height = `${count / most * 100}%`;
    return h('li', { title: said }, bar, h('span', { class: 'hidden' }, said));
  }));
  setText($('usage-from'), dayText(days[0]));
  setText($('usage-to'), dayText(days.at(-1)));
}

function showTable(rows) {
  const all = sums(rows, ['key', 'model']).sort((a, b) => b.seconds - a.seconds), costs = all.some(({ money }) => money > 0);
  const several = new Set(all.map(({ key }) => key)).size > 1 || all.some(({ key_name: name }) => name);
  $('usage-head').replaceChildren(h('tr', {}, ...[several && t('key'), t('model'), t('pictures_made'), t('jobs_done'), t('time_taken'), costs && t('money_spent')]
    .filter(Boolean).map((words) => h('th', { scope: 'col' }, words))));
  $('usage-rows').replaceChildren(...all.map(({ key_name: name, model, pictures, jobs, failed, seconds, money }) => h('tr', {},
    ...[several && (name || t('without_a_key')), model, numberText(pictures), failed ? t('n_of_them_failed', { n: jobs, failed }) : numberText(jobs),
      secondsText(seconds), costs && numberText(money, { maximumFractionDigits: 2 })].filter((cell) => cell !== false)
      .map((cell, i) => h(['th', 'td'][Math.min(i, 1)], i ? {} : { scope: 'row' }, cell)))));
}

/* Of a key that has limits: what is left of them. */
function showQuota(quota) {
  const names = { pictures: t('pictures_made'), megapixel_steps: t('megapixel_steps'), money: t('money_spent') };
  $('quota').replaceChildren(...[['day', t('of_a_day')], ['month', t('of_a_month')]].flatMap(([period, words]) =>
    Object.entries(names).filter(([name]) => quota?.[period]?.[name]?.limit > 0).map(([name, label]) => {
      const { used, limit } = quota[period][name], said = t('used_of', { used: numberText(used), limit: numberText(limit) });
      return h('div', { class: 'quota' }, h('span', {}, `${label} ${words}`), h('progress', { max: limit, value: Math.min(used, limit), 'aria-label': `${label} ${words}` }),
        h('small', {}, `${said} · ${t('begins_anew', { at: momentText(quota[period].resets_at) })}`));
    })));
}

export function makeUsage() {
  return h('section', { id: 'usage', class: 'panel wide', 'aria-labelledby': 'usage-title', hidden: true }, h('h3', { id: 'usage-title' }, t('used_lately')),
    h('div', { id: 'quota' }),
    h('p', { id: 'no-usage', class: 'now', hidden: true }, t('nothing_used_yet')),
    h('div', { id: 'usage-all' }, h('ol', { id: 'usage-days', class: 'days', 'aria-label': t('pictures_by_day') }),
      h('p', { class: 'days-ends now' }, h('span', { id: 'usage-from' }), h('span', { id: 'usage-to' })),
      h('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-labelledby': 'usage-title' },
        h('table', {}, h('thead', { id: 'usage-head' }), h('tbody', { id: 'usage-rows' })))));
}

export async function showUsage() {
  const today = Date.now();
  try {
    const { usage, quota } = await get(`api/usage?from=${dayOf(today - (DAYS - 1) * DAY_MS)}&to=${dayOf(today)}`);
    $('usage').hidden = false;
    $('no-usage').hidden = usage.length > 0;
    $('usage-all').hidden = usage.length === 0;
    showQuota(quota);
    showDays(usage, today);
    showTable(usage);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) /* a server that keeps none */
      throw error;
  }
}
