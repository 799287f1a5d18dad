/* app.js: starts the page, and what belongs to no part of it: the key, the connection, telling
 * screen readers how the person's own jobs get on. */
import { hasKey, setKey } from './api.js';
import { $, announce, setText } from './dom.js';
import './card.js';
import './form.js';
import './gallery.js';
import './mask.js';
import './nudge.js';
import './prompt.js';
import './queue.js';
import './source.js';
import { store } from './store.js';
import './views.js';

const SPARINGLY_MS = 15000; /* between two announcements of steps */

/* ---- the key ---- */

/* `message`: why the key that was there is no good. */
function askKey(message) {
  const dialog = $('key-dialog');
  setText($('key-error'), message);
  $('key').value = '';
  dialog.oncancel = (event) => event.preventDefault(); /* nothing works without it */
  if (!dialog.open)
    dialog.showModal();
  return new Promise((resolve) => {
    $('key-form').onsubmit = (event) => {
      event.preventDefault();
      setKey($('key').value.trim(), $('key-keep').checked);
      resolve(); /* it closes when the key is good */
    };
  });
}

store.addEventListener('ready', () => $('key-dialog').close());
$('forget-key').addEventListener('click', () => {
  setKey(null);
  store.reconnect();
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
    setText($('connection-text'), `${store.problem}. ` + (seconds > 0
      ? `Trying again in ${seconds} s.` : 'Trying…'));
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
  announce(`Step ${step} of ${steps}`);
});

store.addEventListener('finished', ({ detail: job }) => {
  if (!store.mine.has(job.id))
    return;
  const words = job.params.prompt.slice(0, 80);
  if (job.state === 'done')
    announce(`Painted: ${words}`);
  else if (job.state === 'failed')
    announce(`Not painted: ${words}. ${job.error?.message ?? ''}`, true);
  else
    announce(`Cancelled: ${words}`);
});

store.run(askKey);

/* Where the browser allows it (HTTPS, this machine), the page opens without its server, too. */
addEventListener('load', () => navigator.serviceWorker?.register('web/sw.js', { scope: './' })
  .catch(() => {}));
