/* filter.js: which pictures hang: those of a model, of some days, favourites, with a tag. */
import { get } from '../api.js';
import { $, complain, h, icon } from '../dom.js';
import { look } from '../gallery.js';
import { store } from '../store.js';
import { t } from '../text.js';

const DAY_MS = 86400000;
let made = false;

const midnight = () => new Date().setHours(0, 0, 0, 0);
const TIMES = [['', t('any_time'), () => ({})], ['today', t('today'), () => ({ since: midnight() })],
  ['week', t('the_last_7_days'), () => ({ since: midnight() - 6 * DAY_MS })],
  ['month', t('the_last_30_days'), () => ({ since: midnight() - 29 * DAY_MS })],
  ['days', t('from_to'), () => ({ since: dayOf('filter-from'), until: dayOf('filter-to', DAY_MS) })]];

/* The beginning of a day as the person's clock has it, and `more` after it. */
function dayOf(id, more = 0) {
  const { value } = $(id);
  return value ? new Date(`${value}T00:00`).getTime() + more : undefined;
}

function apply() {
  const [, , times] = TIMES.find(([value]) => value === $('filter-time').value);
  $('filter-days').hidden = $('filter-time').value !== 'days';
  const favourite = $('filter-favourite').getAttribute('aria-pressed') === 'true';
  const tag = $('filters').querySelector('.chip[aria-pressed=true]')?.textContent;
  const filter = { model: $('filter-model').value, favourite: favourite || undefined, tag, ...times() };
  const some = Object.values(filter).some(Boolean);
  $('filter-none').hidden = !some;
  $('filter').setAttribute('aria-pressed', String(some));
  look(some ? filter : {});
}

const pressed = (button, value = button.getAttribute('aria-pressed') !== 'true') =>
  button.setAttribute('aria-pressed', String(value));

function makeTag({ tag, jobs }, on) {
  const button = h('button', { class: 'chip', title: t('n_batches', { n: jobs }),
    'aria-pressed': String(on), onclick: () => {
      for (const other of $('filter-tags').children)
        pressed(other, other === button && other.getAttribute('aria-pressed') !== 'true');
      apply();
    } }, tag);
  return button;
}

async function fill() {
  const { tags } = await get('api/tags'), { model, tag } = store.filter;
  const names = new Set([...store.models.map(({ name }) => name), ...(model ? [model] : [])]);
  $('filter-model').replaceChildren(h('option', { value: '' }, t('any_model')),
    ...[...names].map((name) => h('option', { value: name }, name)));
  $('filter-model').value = model ?? '';
  $('filter-tags').replaceChildren(...tags.map((each) => makeTag(each, each.tag === tag)));
}

function clear() {
  $('filter-model').value = $('filter-time').value = '';
  for (const button of $('filters').querySelectorAll('[aria-pressed=true]'))
    pressed(button, false);
  apply();
}

function make() {
  const day = (id, label) => h('label', {}, label, h('input', { id, type: 'date', onchange: apply }));
  $('filters').append(
    h('select', { id: 'filter-model', 'aria-label': t('painted_with'), onchange: apply }),
    h('select', { id: 'filter-time', 'aria-label': t('painted_when'), onchange: apply },
      ...TIMES.map(([value, words]) => h('option', { value }, words))),
    h('span', { id: 'filter-days', class: 'filter-days', hidden: true }, day('filter-from', t('from_day')), day('filter-to', t('to_day'))),
    h('button', { id: 'filter-favourite', 'aria-pressed': 'false', onclick: ({ currentTarget }) => {
      pressed(currentTarget);
      apply();
    } }, icon('heart'), t('favourites')),
    h('div', { id: 'filter-tags', class: 'extras', role: 'group', 'aria-label': t('tags') }),
    h('button', { id: 'filter-none', class: 'quiet', hidden: true, onclick: clear }, t('all_pictures')));
}

export async function toggle() {
  if (!made) {
    made = true;
    make();
  }
  const open = $('filters').hidden;
  $('filters').hidden = !open;
  $('filter').setAttribute('aria-expanded', String(open));
  if (open) {
    await fill();
    $('filter-model').focus();
  }
}
