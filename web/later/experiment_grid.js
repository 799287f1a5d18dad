/* experiment_grid.js: an experiment's pictures as a table whose headers stay in sight. The last axis
 * goes across, the one before it down, and one before that has a table for each of its values. */
import { get, getText, imageBlob, post, showImage } from '../api.js';
import { $, announce, complain, h, icon, save, setText, toast } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';
import { later } from '../views.js';

const CLOSEST = 8, LOOK_MS = 1500, HEAD = 34, SIDE = 110, GAP = 6; /* of the picture of them all: CSS pixels */
const FINAL = ['done', 'failed', 'cancelled', 'removed'];
let host, shown = null, ways = null, timer, cells = new Map();

/* A LoRA's tag is told by its weight. */
const wordsOf = (value) => String(value).replace(/^<lora:.*:(.*)>$/, '$1').slice(0, 60);

/* [[z, [[y, [[x, cell]]]]]]; an axis that is not there has one value, null. */
function tables({ axes, cells: all }) {
  const [z, y, x] = [...Array(3 - axes.length).fill({ values: [null] }), ...axes];
  let at = 0;
  return z.values.map((deep) => [deep, y.values.map((down) => [down, x.values.map((across) => [across, all[at++]])])]);
}

async function openPicture(cell) {
  const job = store.jobs.get(cell.id) ?? await get(`api/jobs/${cell.id}`);
  if (job.images.length)
    (await later('lightbox')).open({ job, image: job.images[0] });
}

async function pick(cell) {
  const id = cell.images[0].id, picks = shown.picks.includes(id) ? shown.picks.filter((each) => each !== id) : [...shown.picks, id];
  shown.picks = picks;
  update(cell);
  say();
  announce(picks.includes(id) ? t('picked') : t('no_longer_picked'));
  await post(`api/experiments/${shown.id}`, { picks }).catch(complain);
}

/* ---- looking closer: all of them, at one place ---- */

let near = 1;

function zoom(value) {
  near = Math.min(CLOSEST, Math.max(1, value));
  host.style.setProperty('--near', near);
  host.classList.toggle('near', near > 1);
  const slider = $('grid-closer');
  if (slider && slider !== document.activeElement)
    slider.value = near;
}

/* What is looked at is where the pointer is. */
function aim({ currentTarget, clientX, clientY }) {
  const { left, top, width, height } = currentTarget.getBoundingClientRect();
  host.style.setProperty('--at-x', `${Math.min(100, Math.max(0, (clientX - left) / width * 100))}%`);
  host.style.setProperty('--at-y', `${Math.min(100, Math.max(0, (clientY - top) / height * 100))}%`);
}

/* With Ctrl, as browsers tell a pinch, too: without it the wheel scrolls, unless all are seen closely. */
function wheel(event) {
  if (!event.ctrlKey && near === 1)
    return;
  event.preventDefault();
  aim(event);
  zoom(near * Math.exp(-event.deltaY / 300));
}

function makeCell(cell) {
  const img = h('img', { alt: '' }), what = h('span', { class: 'now' });
  const parts = { cell, img, what,
    open: h('button', { class: 'cell-open', hidden: true, onpointermove: aim, onclick: () => openPicture(parts.cell).catch(complain) },
      img),
    star: h('button', { class: 'round cell-pick', hidden: true, title: t('pick_it'), onclick: () => pick(parts.cell) }, icon('star')) };
  cells.set(cell.id, parts);
  parts.open.addEventListener('wheel', wheel, { passive: false });
  return h('td', {}, parts.open, parts.star, what);
}

function update(cell) {
  const parts = cells.get(cell.id), [image] = cell.images, said = cell.values.map(wordsOf).join(', ');
  parts.cell = cell;
  if (image && parts.img.dataset.id !== image.id) {
    parts.img.dataset.id = image.id;
    parts.img.alt = said;
    parts.img.width = image.width;
    parts.img.height = image.height;
    showImage(parts.img, image.id);
  }
  parts.open.hidden = parts.star.hidden = !image;
  const picked = Boolean(image) && shown.picks.includes(image.id);
  parts.star.setAttribute('aria-pressed', String(picked));
  parts.star.setAttribute('aria-label', t('pick_what', { what: said }));
  parts.img.closest('td').classList.toggle('picked', picked);
  setText(parts.what, image ? '' : { queued: t('it_waits'), running: t('being_painted'), failed: t('it_failed'), cancelled: t('it_is_cancelled'),
    removed: t('it_is_removed') }[cell.state] ?? cell.state);
}

function makeTable([deep, rows], labels) {
  const table = h('table', { class: 'grid' },
    h('thead', {}, h('tr', {}, h('td', { class: 'corner' }, labels.slice(-2).reverse().filter(Boolean).join(' / ')),
      ...rows[0][1].map(([across]) => h('th', { scope: 'col' }, wordsOf(across))))),
    h('tbody', {}, ...rows.map(([down, columns]) => h('tr', {},
      down === null ? h('td', { class: 'corner' }) : h('th', { scope: 'row' }, wordsOf(down)), ...columns.map(([, cell]) => makeCell(cell))))));
  return h('figure', {}, deep !== null && h('figcaption', { class: 'label-prompt' }, `${labels[0]}: ${wordsOf(deep)}`),
    h('div', { class: 'grid-frame', tabindex: 0, role: 'group', 'aria-label': t('pictures_to_be_scrolled') }, table));
}

function say() {
  const done = shown.cells.filter(({ state }) => FINAL.includes(state)).length, all = shown.cells.length;
  $('grid-bar').hidden = done === all;
  $('grid-bar').value = done / all;
  setText($('grid-said'), done < all ? t('n_of_painted', { n: done, all }) : [t('pictures', { n: all }),
    shown.picks.length && t('n_picked', { n: shown.picks.length })].filter(Boolean).join(', '));
}

async function look() {
  clearTimeout(timer);
  if (!shown)
    return;
  const { id } = shown;
  try {
    const fresh = await get(`api/experiments/${id}`);
    if (shown?.id !== id)
      return;
    shown.cells = fresh.cells;
    fresh.cells.forEach(update);
    say();
  } catch (error) {
    complain(error);
  }
  if (shown?.cells.some(({ state }) => !FINAL.includes(state)))
    timer = setTimeout(look, LOOK_MS);
}

/* ---- out of the page ---- */

function saveAs(blob, ending) {
  const name = shown.name.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60) || t('an_experiment');
  save(URL.createObjectURL(blob), `${name}.${ending}`);
}

async function exportText(format) {
  saveAs(new Blob([await getText(`api/experiments/${shown.id}/export?format=${format}`)],
    { type: format === 'csv' ? 'text/csv' : 'application/json' }), format);
}

/* All tables below each other, with their headers. */
async function exportPicture() {
  const all = tables(shown), images = shown.cells.flatMap(({ images: some }) => some.slice(0, 1));
  const wide = Math.max(...images.map(({ width }) => width)), high = Math.max(...images.map(({ height }) => height));
  const [, [[, columns], ...more]] = all[0], rows = more.length + 1;
  const sheet = document.createElement('canvas'), context = sheet.getContext('2d');
  sheet.width = SIDE + columns.length * (wide + GAP);
  sheet.height = all.length * (HEAD * (all.length > 1 ? 2 : 1) + rows * (high + GAP));
  context.fillStyle = '#fff';
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.font = '14px sans-serif';
  context.textBaseline = 'middle';
  context.fillStyle = '#15171c';
  const write = (text, x, y, room) => context.fillText(text, x, y, room);
  let y = 0;
  for (const [deep, lines] of all) {
    if (all.length > 1) {
      write(wordsOf(deep), 8, y + HEAD / 2, sheet.width - 16);
      y += HEAD;
    }
    lines[0][1].forEach(([across], i) => write(wordsOf(across), SIDE + i * (wide + GAP), y + HEAD / 2, wide));
    y += HEAD;
    for (const [down, line] of lines) {
      if (down !== null)
        write(wordsOf(down), 8, y + high / 2, SIDE - 16);
      for (const [i, [, cell]] of line.entries())
        if (cell.images.length)
          context.drawImage(await createImageBitmap(await imageBlob(cell.images[0].id)), SIDE + i * (wide + GAP), y);
      y += high + GAP;
    }
  }
  saveAs(await new Promise((resolve) => sheet.toBlob(resolve, 'image/png')), 'png');
}

/* ---- the view of one ---- */

function rename(event) {
  const name = event.target.value.trim();
  if (name && name !== shown.name)
    post(`api/experiments/${shown.id}`, { name }).then(() => { shown.name = name; }, complain);
}

export async function open(where, id, how) {
  [host, ways] = [where, how];
  shown = await get(`api/experiments/${id}`);
  cells = new Map();
  const labels = shown.axes.map(ways.labelOf), act = (run) => () => Promise.resolve(run()).catch(complain);
  const size = h('input', { id: 'grid-size', type: 'range', min: 48, max: 512, value: 144, oninput: () =>
    host.style.setProperty('--cell', `${size.value}px`) });
  const closer = h('input', { id: 'grid-closer', type: 'range', min: 1, max: CLOSEST, step: 0.25, value: 1, 'aria-describedby': 'grid-closer-about',
    oninput: () => zoom(Number(closer.value)) });
  host.style.setProperty('--cell', '144px');
  zoom(1);
  host.replaceChildren(h('div', { class: 'grid-head' },
    h('button', { class: 'bare', 'aria-label': t('all_experiments'), title: t('all_experiments'), onclick: ways.back }, icon('left')),
    h('input', { class: 'grid-name', 'aria-label': t('name_of_the_experiment'), value: shown.name, maxlength: 100, onchange: rename }),
    h('label', { class: 'grid-size' }, t('size'), size),
  h('label', { class: 'grid-size', title: t('closer_about') }, t('closer'), closer), h('span', { id: 'grid-closer-about', class: 'hidden' }, t('closer_about'))),
  h('div', { class: 'tools' },
    h('button', { onclick: act(ways.again) }, icon('again'), t('run_it_again')),
    h('button', { onclick: act(exportPicture) }, icon('download'), 'PNG'),
    h('button', { onclick: act(() => exportText('csv')) }, icon('download'), 'CSV'),
    h('button', { onclick: act(() => exportText('json')) }, icon('download'), 'JSON'),
    h('button', { onclick: act(async () => {
      await ways.drop();
      toast(t('deleted_its_pictures_stay_on'));
    }) }, icon('trash'), t('delete'))),
  h('p', { class: 'lead' }, h('span', { id: 'grid-said', role: 'status' }), h('progress', { id: 'grid-bar', max: 1, 'aria-label': t('progress') })),
  ...tables(shown).map((table) => makeTable(table, labels)));
  host.querySelector('button').focus({ preventScroll: true });
  shown.cells.forEach(update);
  say();
  look();
}

export function close() {
  shown = null;
  clearTimeout(timer);
}
