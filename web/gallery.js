/* gallery.js: the newest picture, large, and the wall below it. Pictures hang in rows of equal height,
 * newest first, each with its label; jobs that failed hang between them with what went wrong. All that
 * can be done with a picture is in the lightbox; the buttons on a picture are its short ways.
 *
 * Where each card hangs is reckoned for all of them, but only those in and near sight are in the
 * document: a wall of any length costs what a screen of it costs. */
import { showImage } from './api.js';
import { $, arrange, complain, h, icon, plainWords, setText, toast } from './dom.js';
import { painter } from './form.js';
import { notesOf } from './queue.js';
import { placeIn, store } from './store.js';
import { serverWords, t } from './text.js';
import { later, opens } from './views.js';

const cards = new Map(); /* key of an item -> {element, picture} */
const open = opens('lightbox', (module, picture) => module.open(picture));
let picking = null, mark = null; /* of later/select.js: what a press does instead, how a card looks */

export function onPick(run, how) {
  [picking, mark] = [run, how];
  for (const { element, picture } of cards.values())
    mark(element, picture);
}

/* Of a job's pictures, those that were made of others of its. */
export const isEnlarged = ({ job, image }) => image.index >= job.params.count;

/* What was made last of a job's pictures comes first. */
const imagesOf = (job) => ordered(job).filter(isWanted);

/* A job is found by any of its pictures, or by what is said of it as a whole. */
const isWanted = (image, _, all) => {
  const { favourite, tag } = store.looking ? store.filter : {};
  return (!favourite || image.favourite || !all.some((each) => each.favourite)) &&
    (!tag || image.tags?.includes(tag) || !all.some((each) => each.tags?.includes(tag)));
};

const ordered = (job) => [...job.images.filter((image) => isEnlarged({ job, image })).reverse(),
  ...job.images.filter((image) => !isEnlarged({ job, image }))];

/* Every picture there is, as hung: [{job, image}]. */
export const pictures = () => store.history().flatMap((job) =>
  imagesOf(job).map((image) => ({ job, image })));

export const cardOf = (id) => (cards.get(id) ?? cards.get(`${id} large`))?.element;

/* ---- what can be done with a picture ---- */

/* Where prompts choose, each picture has its own. */
export const paramsOf = ({ job, image }) =>
  ({ ...job.params, ...job.params.variants?.[image.index] });

export const useSettings = ({ job, image }) => {
  const controls = job.params.controls?.map((each, i) => ({ ...each, image: `job:${job.id}/${i}` }));
  painter.apply({ ...paramsOf({ job, image }), controls, seed: image.seed, subseed: image.subseed });
  toast(job.params.has_init ? t('settings_taken_over_the_picture')
    : t('settings_taken_over'));
};

export const edit = opens('edit', (module, picture) => module.openPicture(picture));
const act = (name) => opens('acts', (module, picture) => module[name](picture));

/* Takes them off the wall, and deletes them when nobody takes that back. */
function removeLater(jobs, images = []) {
  const ids = [...jobs, ...images].map(({ id }) => id);
  store.hide(...ids);
  toast(ids.length > 1 ? t('n_deleted', { n: ids.length }) : t('deleted'), {
    seconds: 8, action: { label: t('undo'), run: () => store.unhide(...ids) },
    gone: () => store.remove(jobs.map(({ id }) => id), images.map(({ id }) => id)).catch(complain),
  });
}

export const removeJobs = (jobs) => removeLater(jobs);

/* A job goes with its last picture. */
export function removePictures(list) {
  const whole = new Set(), ids = new Set(list.map(({ image }) => image.id));
  for (const { job } of list)
    if (job.images.every(({ id }) => ids.has(id)))
      whole.add(job);
  removeLater([...whole], list.filter(({ job }) => !whole.has(job)).map(({ image }) => image));
}

export const removePicture = (picture) => removePictures([picture]);

/* ---- cards ---- */

const VERBS = [
  ['variation', t('variations'), t('four_that_are_near'), act('variations')],
  ['larger', t('upscale'), t('twice_as_large'), act('upscale')],
  ['again', t('again'), t('the_same_with_another_seed'), act('again')],
  ['brush', t('edit'), t('paint_a_part'), edit],
];

const isFresh = (job) => job.live && performance.now() - job.seen < 2000;

/* A favourite's heart stays in sight. */
function heartOf(picture) {
  const button = h('button', { class: 'round heart', title: t('favourite'), 'aria-label': t('favourite'),
    'aria-pressed': String(Boolean(picture.image.favourite)), onclick: () => favour([picture],
      button.getAttribute('aria-pressed') !== 'true') }, icon('heart'));
  return button;
}

/* The event of the job brings it to the card; meanwhile it is believed. */
export async function favour(list, favourite) {
  const set = (value) => list.forEach(({ image }) => {
    for (const button of cardOf(image.id)?.querySelectorAll('.heart') ?? [])
      button.setAttribute('aria-pressed', String(value));
  });
  set(favourite);
  try {
    await store.mark(list.map(({ image }) => image.id), { favourite });
  } catch (error) {
    set(!favourite);
    complain(error);
  }
}

function makeCard(picture, large) {
  const { job, image } = picture;
  const alt = job.params.prompt || t('picture_without_words');
  const img = h('img', { alt, width: image.width, height: image.height, decoding: 'async' });
  const short = (name, label, run) => h('button', { class: 'round', tabindex: -1, title: label,
    'aria-label': label, onclick: () => run(picture) }, icon(name));
  if (large)
    showImage(img, image.id, true);
  else
    showImage(img, image.id);
  const card = h('figure', { class: `card${isFresh(job) ? ' fresh' : ''}${large ? ' large' : ''}`,
    'data-image': image.id },
  h('button', { class: 'open', onclick: (event) => (picking ?? open)(picture, event) }, img),
  heartOf(picture),
  h('div', { class: 'short' },
    short('sliders', t('use_these_settings'), useSettings),
    short('download', t('download'), act('download')),
    short('trash', t('delete'), removePicture)),
  h('figcaption', {}, h('span', { class: 'label-prompt' }, paramsOf(picture).prompt),
    h('small', {}, [`${image.width} × ${image.height}`, isEnlarged(picture) ? t('is_upscaled')
      : t('steps_of', { n: job.params.steps ?? '?' }), t('seed_is', { seed: String(image.seed) })].join(' · ')),
    large && notesOf(job),
    large && h('div', { class: 'tools' }, ...VERBS.map(([name, label, title, run]) =>
      h('button', { title, onclick: () => run(picture) }, icon(name), label)))));
  card.style.setProperty('--ratio', image.width / image.height);
  card.style.setProperty('--across', image.width);
  return card;
}

function makeFailed({ jobs, job }) {
  const retry = () => store.retry(job.id).then(() => toast(t('in_the_queue_again'))).catch(complain);
  const why = h('p', { class: 'error' });
  serverWords().then(() => setText(why, plainWords(job.error?.message ?? t('failed_somehow'))));
  return h('article', { class: 'card failed', 'data-job': job.id },
    h('h3', {}, jobs.length > 1 ? t('not_painted_times', { n: jobs.length }) : t('not_painted')),
    h('p', { class: 'label-prompt' }, job.params.prompt),
    why,
    h('div', { class: 'tools' },
      h('button', { onclick: retry }, icon('again'), t('retry')),
      h('button', { onclick: () => painter.apply(job.params) }, t('edit')),
      h('button', { onclick: () => removeJobs(jobs) }, t('remove'))));
}

/* Key of a card: a large one is another element. */
function elementOf(item) {
  const { key, job, make } = item;
  if (!cards.has(key)) {
    const picture = { job, image: item.image, jobs: item.jobs };
    cards.set(key, { picture, element: make(picture, item.large) });
    mark?.(cards.get(key).element, picture);
  }
  const { element, picture } = cards.get(key);
  picture.job = job; /* the latest copy */
  if (item.image && picture.image !== item.image) {
    picture.image = item.image;
    element.querySelector('.heart').setAttribute('aria-pressed', String(Boolean(item.image.favourite)));
  }
  return element;
}

/* ---- the wall ---- */

/* How long a connection took is another each time. */
const failure = ({ params, error }) => `${params.prompt}\n${error?.message.replace(/\d+ ms/g, '')}`;

/* What hangs of a job: {key, job, image, ratio, make}. */
const itemsOfJob = (job) => [...(job.state === 'failed' ? [{ key: job.id, job, jobs: [job], ratio: 1.3, make: makeFailed }] : []),
  ...imagesOf(job).map((image) => ({ key: image.id, job, image, make: makeCard,
    ratio: Math.min(2.4, Math.max(0.6, image.width / image.height)) }))];

/* All of it, newest first. Failures that say the same are one. */
function itemsOf(jobs, alone) {
  const all = [], failed = new Map();
  for (const job of jobs)
    for (const item of job.id === alone ? [] : itemsOfJob(job)) {
      const same = item.jobs && failed.get(failure(job));
      if (same) {
        same.jobs.push(job);
        same.key += `+${job.id}`;
      } else {
        all.push(item);
        if (item.jobs)
          failed.set(failure(job), item);
      }
    }
  return all;
}

/* Those of one job, put in order into `all`; false where failures are to be told apart anew. */
function putBack(all, job, jobs, alone) {
  const at = placeIn(all, job, (item) => item.job), hung = jobs[placeIn(jobs, job)];
  let count = 0;
  while (all[at + count]?.job.id === job.id)
    count++;
  if (job.state === 'failed' || all[at]?.jobs)
    return false;
  all.splice(at, count, ...(hung?.id === job.id && job.id !== alone ? itemsOfJob(hung) : []));
  return true;
}

const wall = $('pictures');
let items = [], rows = [], across = 0; /* the width that rows are made for */
let gap = 0;
let begin = 0; /* of the items, the first that hangs in a row */

const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/* Rows as wide as the wall: {top, height, tall, first, after}. They are reckoned as far down as is looked at;
 * how high the rest is, those above say. */
function layOut() {
  across = wall.clientWidth;
  rows = [];
}

function reckon(until) {
  const unit = rem(), narrow = across < 40 * unit, high = (narrow ? 8 : 12) * unit, label = 5.6 * unit, { length } = items;
  gap = (narrow ? 0.9 : 1.5) * unit;
  let { top, height, after: first } = rows.at(-1) ?? { top: 0, height: 0, after: begin };
  for (top += height; first < length && top < until; top += height) {
    let after = first, ratios = 0;
    while (after < length && ratios * high + (after - first - 1) * gap < across)
      ratios += items[after++].ratio;
    const tall = Math.min((across - (after - first - 1) * gap) / ratios, high * 1.25);
    height = tall + label;
    rows.push({ top, height, tall, first, after });
    first = after;
  }
  wall.style.height = `${Math.round(top + (length - first) * (top / (first - begin) || 0))}px`;
}

/* Where the items of a row hang: [[left, width]]. */
function placesOf({ first, after, tall }) {
  let left = 0;
  return items.slice(first, after).map(({ ratio }) => {
    const place = [left, ratio * tall];
    left += ratio * tall + gap;
    return place;
  });
}

/* Hangs what is in sight, and as much again above and below. */
function hang() {
  const from = wall.getBoundingClientRect().top, margin = innerHeight;
  const wanted = [];
  reckon(innerHeight + 2 * margin - from);
  let low = 0, high = rows.length; /* the first row that ends below what is looked at */
  while (low < high) {
    const middle = (low + high) >> 1;
    if (from + rows[middle].top + rows[middle].height < -margin)
      low = middle + 1;
    else
      high = middle;
  }
  for (const row of rows.slice(low, low + 200)) {
    const { top, tall, first, after } = row, places = placesOf(row);
    if (from + top > innerHeight + margin)
      break;
    for (let i = first; i < after; i++) {
      const element = elementOf(items[i]), [left, width] = places[i - first];
      element.style.left = `${left}px`;
      element.style.top = `${top}px`;
      element.style.width = `${width}px`;
      element.style.setProperty('--tall', `${tall}px`);
      wanted.push(element);
    }
  }
  arrange(wall, wanted);
  for (const [key, { element }] of cards)
    if (!element.isConnected)
      cards.delete(key);
}

let hung = null, large = null; /* what items were made of; the picture above the wall */

function choose(working) {
  const jobs = store.history(), alone = working[0]?.params.count === 1 ? working[0].id : null;
  const { looking } = store, filter = JSON.stringify(store.filter), same = hung?.looking === looking && hung.filter === filter;
  const others = new Map(store.changed);
  for (const id of hung?.alone === alone ? [] : [alone, hung?.alone])
    if (store.jobs.has(id))
      others.set(id, store.jobs.get(id));
  /* The picture of the job at work stays in its place until the job is over. */
  if (!same || !store.changed || ![...others.values()].every((job) => putBack(items, job, jobs, alone)))
    items = itemsOf(jobs, alone);
  else if (others.size === 0 && hung.idle === (working.length === 0))
    return;
  hung = { alone, looking, filter, idle: working.length === 0 };
  large = !looking && hung.idle && items[0]?.image ? { ...items[0], large: true, key: `${items[0].key} large` } : null;
  begin = large ? 1 : 0;
  layOut();
}

function render() {
  const working = store.active();
  choose(working);
  const focused = document.activeElement?.closest?.('.card.large');
  arrange($('latest'), large ? [elementOf(large)] : []);
  if (focused && !focused.isConnected)
    $('prompt').focus({ preventScroll: true });
  $('latest').hidden = !large;
  hang();
  const blank = store.loaded && !store.looking && items.length === 0 && !store.hasMore;
  $('empty').hidden = !blank || working.length > 0;
  $('gallery-head').hidden = blank;
  $('more').hidden = !store.loaded || !store.hasMore;
  $('nothing').hidden = !store.looking || items.length > 0 || store.hasMore;
  setText($('nothing'), store.query ? t('no_prompt_has', { words: store.query }) : t('nothing_like_that'));
  comeBack();
}

let asked = false;
function soon() {
  if (asked)
    return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    hang();
  });
}

/* What later/wall_keys.js goes by. `bring` hangs what lies out of sight. */
export const layout = () => ({ rows, items, begin, placesOf, bring: (item, row) => {
  if (row) {
    const { top } = wall.getBoundingClientRect();
    if (top + row.top < 0 || top + row.top + row.height > innerHeight)
      scrollBy(0, top + row.top - innerHeight / 3);
    hang();
  }
  return elementOf(row ? item : large);
} });

const press = opens('wall_keys', (module, key, card) => module.press(key, card));
for (const part of [wall, $('latest')])
  part.addEventListener('keydown', (event) => {
    const open = event.target.closest('.open');
    if (!open || !/^(Arrow|Delete$)/.test(event.key) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey ||
      (picking && event.key === 'Delete'))
      return;
    event.preventDefault();
    press(event.key, open.closest('.card'));
  });

store.addEventListener('change', render);
store.addEventListener('trouble', ({ detail }) => complain(detail));
addEventListener('scroll', soon, { passive: true });
new ResizeObserver(() => {
  if (across === wall.clientWidth || !wall.clientWidth) /* or another view is shown */
    return;
  layOut();
  hang();
}).observe(wall);

/* ---- a page that is loaded again shows the same place ---- */

const PLACE = 'pictor.place';
let place = null;
try {
  place = JSON.parse(sessionStorage.getItem(PLACE));
} catch { /* the top, then */ }
history.scrollRestoration = 'manual';

function comeBack() {
  if (!place || !store.loaded)
    return;
  if (store.jobs.size < place.jobs && store.hasMore) {
    store.more(200).catch(() => { place = null; });
    return;
  }
  const { top } = place;
  place = null;
  scrollTo(0, top);
  hang();
}

addEventListener('pagehide', () => sessionStorage.setItem(PLACE,
  JSON.stringify({ top: scrollY, jobs: store.jobs.size })));

/* An empty wall: what the built-in model made of some words, and frames that wait for a picture. */
const FIRST = ['castle', 'lighthouse', 'fox', 'rocket'];

function frameOf(words) {
  const file = FIRST.find((noun) => words.split(/\W+/).includes(noun));
  const picture = file && h('img', { alt: '', width: 160, height: 160, loading: 'lazy',
    src: new URL(`first/${file}.webp`, import.meta.url) });
  return h('button', { class: 'frame', onclick: () => painter.paintWords(words) },
    h('span', { class: 'frame-canvas', 'aria-hidden': 'true' }, picture || icon('brush')),
    h('span', { class: 'label-prompt' }, words), h('small', {}, t('paint_this')));
}

store.addEventListener('ready', () =>
  $('frames').replaceChildren(...store.info.examples.slice(0, 4).map(frameOf)));

/* ---- searching and going back in time ---- */

let typing;
$('search').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(look, 250);
});

/* For what the search says, and `filter`. */
export async function look({ params: _, ...filter } = store.filter) {
  const text = $('search').value.trim();
  try {
    const { words, params } = text.includes(':') ? (await later('query')).parse(text) : { words: text };
    await store.search(words, params ? { ...filter, params } : filter);
  } catch (error) {
    complain(error);
  }
}

const more = () => store.more().then(watch, complain);
const inSight = new IntersectionObserver(([entry]) => entry.isIntersecting && more(),
  { rootMargin: '800px' });

/* Begins anew each time: only what comes into sight is reported, not what stays there. */
function watch() {
  inSight.disconnect();
  inSight.observe($('more'));
}

$('more').addEventListener('click', more);
watch();

$('filter').addEventListener('click', opens('filter', (module) => module.toggle()));
$('select').addEventListener('click', opens('select', (module) => module.toggle()));
$('slideshow').addEventListener('click', opens('slides', (module) => module.start()));
