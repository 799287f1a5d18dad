/* views.js: what is loaded when it is opened first, so that painting does not wait for it: later/NAME.js,
 * with later/NAME.css where it has a style of its own. Views are named by the address's fragment
 * (#models); each has `open()` and may have `close()`. */
import { $, complain, h, setText } from './dom.js';
import { store } from './store.js';
import { laterText, t } from './text.js';

const VIEWS = { compose: t('compose'), models: t('models'), experiments: t('experiments'), server: t('server') };
const STYLED = new Set(['view', 'models', 'select', 'slides', 'edit', 'filter', 'server', 'experiments',
  'film', 'lightbox', 'compose',
  'references', 'shortcuts', 'code', 'presets', 'recall', 'additions']);
const loaded = new Map(), sections = new Map();
let shown = null, top = 0; /* the view; where the wall was left */

/* Missing is no reason to show nothing. */
function style(name) {
  if (!STYLED.delete(name)) /* asked for once */
    return null;
  return new Promise((resolve) => {
    const link = h('link', { rel: 'stylesheet', href: new URL(`later/${name}.css`, import.meta.url) });
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}

const beforehand = () => Promise.all([laterText(), import('./later/icons.js')]);

/* The module. One that did not come is asked for again the next time. */
export function later(name) {
  if (!loaded.has(name)) {
    const all = Promise.all([beforehand().then(() => import(`./later/${name}.js`)), style(name), name === 'edit' && style('references'),
      Object.hasOwn(VIEWS, name) && style('view')])
      .then(([module]) => module);
    loaded.set(name, all);
    all.catch(() => loaded.delete(name));
  }
  return loaded.get(name);
}

/* A function that calls `run` of the module. */
export const opens = (name, run) => (...all) =>
  later(name).then((module) => run(module, ...all)).catch(complain);

function section(name) {
  if (!sections.has(name)) {
    const title = h('h2', { id: `${name}-title`, tabindex: -1 }, VIEWS[name]);
    const part = h('section', { id: `${name}-view`, class: 'view', 'aria-labelledby': title.id },
      h('div', { class: 'view-head' }, title));
    sections.set(name, part);
    $('views').append(part);
  }
  return sections.get(name);
}

const nameOf = () => {
  const name = location.hash.slice(1);
  return Object.hasOwn(VIEWS, name) ? name : null;
};

/* The page that paints stays where it was, unseen. */
async function show() {
  const name = nameOf();
  if (name === shown)
    return;
  if (shown)
    (await loaded.get(shown))?.close?.();
  else
    top = scrollY;
  shown = name;
  document.body.dataset.view = VIEWS[name] ?? '';
  document.title = [VIEWS[name], 'pictor'].filter(Boolean).join(' · ');
  $('easel').hidden = Boolean(name);
  $('views').hidden = !name;
  for (const link of document.querySelectorAll('.nav a')) {
    if (link.hash === `#${name ?? 'create'}`) {
      link.setAttribute('aria-current', 'page');
      nav.scrollTo({ left: link.offsetLeft - nav.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2 });
    } else {
      link.removeAttribute('aria-current');
    }
  }
  for (const [each, part] of sections)
    part.hidden = each !== name;
  scrollTo(0, name ? 0 : top);
  if (!name)
    return;
  const part = section(name);
  part.hidden = false;
  part.querySelector('h2').focus({ preventScroll: true });
  part.classList.toggle('filling', !loaded.has(name)); /* its parts come one after another, and are seen together */
  try {
    await (await later(name)).open(part);
  } catch (error) {
    complain(error);
  }
  part.classList.remove('filling');
}

/* Where the ways to the views have no room beside each other, they fade to where there are more. */
const nav = document.querySelector('.nav');
function fade() {
  nav.classList.toggle('before', nav.scrollLeft > 4);
  nav.classList.toggle('more', nav.scrollWidth - nav.clientWidth - nav.scrollLeft > 4);
}
nav.addEventListener('scroll', fade, { passive: true });
new ResizeObserver(fade).observe(nav);

addEventListener('hashchange', show);
if (nameOf())
  show();

/* How many models cannot be painted with stands beside the way to them. */
function count() {
  const bad = store.models.filter(({ problem }) => problem).length;
  $('models-badge').hidden = bad === 0;
  setText($('models-badge'), String(bad));
  $('models-badge').title = t('n_cannot_paint', { n: bad });
}
store.addEventListener('ready', count);
store.addEventListener('models', count);
