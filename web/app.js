/* app.js: starts the page, and what belongs to no part of it: the key, the connection, telling
 * screen readers how the person's own jobs get on. */
import { hasKey, setKey } from './api.js';
import { $, announce, plainWords, setText } from './dom.js';
import './form.js';
import './gallery.js';
import './queue.js';
import './source.js';
import { store } from './store.js';
import { t } from './text.js';
import { later, opens } from './views.js';

const SPARINGLY_MS = 15000; /* between two announcements of steps */

/* ---- the key ---- */

const askKey = async (message) => (await later('door')).ask(message);

$('forget-key').addEventListener('click', () => {
  setKey(null);
  store.reconnect();
});

/* ---- what the model paints ---- */

const card = opens('card', (module) => module.show());
$('card').addEventListener('toggle', card);
$('form').addEventListener('input', card, { once: true });
store.addEventListener('ready', () => $('prompt').value && card());

/* ---- how long the prompt is, what the samplers are good for ---- */

const count = () => import('./prompt.js').then((module) => module.later(), () => {});
$('form').addEventListener('input', count, { once: true });
store.addEventListener('connection', () => store.state === 'online' && $('prompt').value && count());

const about = opens('samplers', (module) => module.show());
$('settings').addEventListener('toggle', () => $('settings').open && about());
for (const id of ['sampler', 'scheduler'])
  $(id).addEventListener('input', () => about());

/* ---- keys of the keyboard ---- */

const nudge = opens('nudge', (module, area, ways) => module.nudge(area, ways));
const recall = opens('recall', (module, area, ways) => module.recall(area, ways));
const help = opens('shortcuts', (module) => module.open());

for (const id of ['prompt', 'negative_prompt'])
  $(id).addEventListener('keydown', (event) => {
    const ways = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const weighs = event.ctrlKey || event.metaKey;
    if (!ways || !(weighs || (event.altKey && id === 'prompt')))
      return;
    event.preventDefault();
    (weighs ? nudge : recall)(event.currentTarget, ways);
  });

$('recall').addEventListener('click', opens('recall', (module) => module.open()));
$('keys-help').addEventListener('click', () => help());
/* Anywhere on the page "/" goes to the prompt, and "?" says what keys do. */
addEventListener('keydown', (event) => {
  if (!['/', '?'].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey ||
    event.target.closest('input, textarea, select, dialog[open]'))
    return;
  event.preventDefault();
  if (event.key === '?')
    help();
  else if ($('easel').hidden)
    location.hash = '#create';
  else
    $('prompt').focus();
});

/* ---- the connection ---- */

let ticking;

function showConnection() {
  clearInterval(ticking);
  $('forget-key').hidden = !hasKey();
  $('connection').hidden = store.state !== 'offline';
  if (store.state !== 'offline')
    return;
  const tell = () => {
    const seconds = Math.ceil((store.retryAt - Date.now()) / 1000);
    setText($('connection-text'), `${store.problem}. ${seconds > 0 ? t('trying_again_in', { n: seconds }) : t('trying')}`);
  };
  tell();
  ticking = setInterval(tell, 1000);
}

store.addEventListener('connection', showConnection);
$('connection-now').addEventListener('click', () => store.retryNow());
addEventListener('online', () => store.retryNow());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && store.state === 'offline')
    store.retryNow();
});
addEventListener('pagehide', () => store.removeHidden());

/* ---- telling ---- */

let told = 0;

store.addEventListener('progress', ({ detail: job }) => {
  const { step, steps } = job.progress, now = performance.now();
  if (!store.mine.has(job.id) || step === 0 || now - told < SPARINGLY_MS)
    return;
  told = now;
  announce(t('step_of_said', { step, steps }));
});

store.addEventListener('finished', ({ detail: job }) => {
  if (!store.mine.has(job.id))
    return;
  const words = job.params.prompt.slice(0, 80);
  if (job.state === 'done')
    announce(t('painted_said', { words }));
  else if (job.state === 'failed')
    announce(t('not_painted_said', { words, why: plainWords(job.error?.message ?? '') }), true);
  else
    announce(t('cancelled_said', { words }));
});

store.run(askKey);

/* Where the browser allows it (HTTPS, this machine), the page opens without its server, too. */
const keepPage = () => navigator.serviceWorker?.register('web/sw.js', { scope: './' }).catch(() => {});
if (document.readyState === 'complete')
  keepPage();
else
  addEventListener('load', keepPage);
