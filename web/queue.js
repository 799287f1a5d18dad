/* queue.js: the jobs at work and waiting, and the line in the header that is always in sight. */
import { $, arrange, complain, h, icon, setText } from './dom.js';
import { painter } from './form.js';
import { store } from './store.js';
import { t } from './text.js';
import { later, opens } from './views.js';

const rows = new Map(); /* job id -> {element, ...parts} */

export function secondsText(seconds) {
  if (seconds < 60)
    return t('seconds', { n: Math.max(1, Math.ceil(seconds)) });
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? t('minutes', { n: minutes }) : t('hours', { n: Math.floor(minutes / 60), min: minutes % 60 });
}

/* 0..1 over all pictures of the job; null while nothing can be said. */
function fractionOf({ progress: { image, step, steps }, params: { count } }) {
  return steps > 0 ? (image + step / steps) / count : null;
}

/* How far it is; `also` comes before it. */
export function stepText({ step, steps, eta_seconds: eta }, also = null) {
  if (!steps)
    return t('mixing_the_colours');
  return [also, t('step_of', { step, steps }), eta !== null && step < steps && t('left', { time: secondsText(eta) })]
    .filter(Boolean).join(' · ');
}

function wordsOf(job) {
  if (job.stopping)
    return job.stopping === 'cancel' ? t('stopping') : t('finishing');
  if (job.state === 'queued' && store.paused && job.position === 0)
    return t('next_when_the_queue_goes');
  if (job.state === 'queued')
    return job.position > 0 ? t('waiting_behind', { n: job.position }) : t('next_up');
  return stepText(job.progress,
    job.params.count > 1 && t('picture_of', { n: job.progress.image + 1, all: job.params.count }));
}

const fillNotes = opens('notes', (module, line, job) => module.fill(line, job));

/* A line on what of the request says nothing to its model; null: all of it does. */
export function notesOf(job) {
  if (!job.notes?.length)
    return null;
  const line = h('small', { class: 'noted' });
  fillNotes(line, job);
  return line;
}

function makeRow(job) {
  const act = (run) => () => run.call(store, job.id).catch(complain);
  const row = {
    preview: h('img', { alt: '', class: 'preview', hidden: true }),
    prompt: h('p', { class: 'label-prompt' }, job.params.prompt || t('without_words')),
    words: h('p', { class: 'now' }),
    bar: h('progress', { 'aria-label': t('progress') }),
    finish: h('button', { onclick: act(store.interrupt),
      title: t('stop_here_and_keep') }, icon('check'), t('finish_now')),
    cancel: h('button', { onclick: act(store.cancel) }, icon('close'), t('cancel')),
    first: h('button', { class: 'bare', title: t('paint_it_next'), 'aria-label': t('paint_it_next'),
      onclick: act((id) => store.move(id)) }, icon('first')),
    up: h('button', { class: 'bare', title: t('one_place_forward'), 'aria-label': t('one_place_forward'),
      onclick: act((id) => {
        const waiting = store.active().filter((each) => each.state === 'queued');
        return store.move(id, waiting[waiting.findIndex((each) => each.id === id) - 1]?.id);
      }) }, icon('up')),
    reuse: h('button', { class: 'bare', title: t('use_these_settings'),
      'aria-label': t('use_these_settings'), onclick: () => painter.apply(job.params) },
    icon('sliders')),
  };
  const canvas = h('div', { class: 'canvas' }, row.preview);
  const { width, height, hires_width: across, hires_height: down } = job.params;
  canvas.style.aspectRatio = `${width} / ${height}`;
  row.element = h('li', { class: 'job', 'data-job': job.id }, canvas,
    h('div', { class: 'job-text' }, row.prompt, row.words, row.bar, notesOf(job),
      h('div', { class: 'job-buttons' }, row.finish, row.first, row.up, row.cancel, row.reuse)));
  row.element.style.setProperty('--ratio', across > 0 ? across / down : width / height);
  row.element.style.setProperty('--across', across > 0 ? across : width);
  return row;
}

function update(job) {
  const row = rows.get(job.id);
  if (!row)
    return;
  const running = job.state === 'running', fraction = fractionOf(job);
  row.element.classList.toggle('running', running);
  setText(row.words, wordsOf(job));
  row.bar.hidden = row.finish.hidden = !running;
  row.first.hidden = row.up.hidden = running || job.position < 1;
  if (row.grip)
    row.grip.hidden = running;
  if (fraction === null) {
    row.bar.removeAttribute('value');
  } else {
    row.bar.max = job.params.count * job.progress.steps;
    row.bar.value = job.progress.image * job.progress.steps + job.progress.step;
    row.bar.setAttribute('aria-valuetext', row.words.textContent);
  }
  row.preview.hidden = !job.preview;
  if (job.preview && row.preview.src !== job.preview)
    row.preview.src = job.preview;
}

function updateStatus() {
  const active = store.active();
  const running = active.filter((job) => job.state === 'running');
  const waiting = active.length - running.length;
  $('status').hidden = active.length === 0;
  const fraction = running.length ? fractionOf(running[0]) : null;
  if (fraction === null)
    $('status-bar').removeAttribute('value');
  else
    $('status-bar').value = fraction;
  const { step, steps } = running[0]?.progress ?? {};
  setText($('status-text'), [
    running.length > 0 && (steps ? `${step} / ${steps}` : t('beginning')),
    waiting > 0 && t('n_waiting', { n: waiting }), store.paused && t('is_paused'),
  ].filter(Boolean).join(' · '));
  const percent = fraction === null ? '…' : `${Math.floor(fraction * 100)} %`;
  document.title = [active.length && percent, document.body.dataset.view, 'pictor'].filter(Boolean)
    .join(' · ');
}

/* Two that wait can change places. */
async function equip(active) {
  const all = active.filter(({ state }) => state === 'queued');
  if (all.length < 2)
    return;
  const { gripOf } = await later('reorder');
  for (const { id } of all) {
    const row = rows.get(id);
    if (row && !row.grip)
      row.first.before(row.grip = gripOf(row.element, id));
  }
}

let pauseSaid = null;

function showPause(count) {
  $('paused').hidden = !store.paused;
  $('queue-tools').hidden = count < 2 && !store.paused;
  if (pauseSaid === store.paused)
    return;
  pauseSaid = store.paused;
  $('pause').replaceChildren(icon(store.paused ? 'play' : 'pause'), store.paused ? t('go_on') : t('pause_the_queue'));
}

$('pause').addEventListener('click', () => store.pause(!store.paused).catch(complain));

store.addEventListener('change', () => {
  const active = store.active();
  const ids = new Set(active.map((job) => job.id));
  for (const id of rows.keys())
    if (!ids.has(id))
      rows.delete(id);
  for (const job of active) {
    if (!rows.has(job.id))
      rows.set(job.id, makeRow(job));
    rows.get(job.id).element.classList.toggle('large', job === active[0]);
    update(job);
  }
  equip(active).catch(() => {}); /* the other buttons move them, too */
  if (store.held)
    return;
  const focused = $('queue-list').contains(document.activeElement);
  arrange($('queue-list'), active.map((job) => rows.get(job.id).element));
  if (focused && !$('queue-list').contains(document.activeElement))
    (active.length ? $('queue') : $('prompt')).focus({ preventScroll: true });
  $('queue').hidden = active.length === 0;
  showPause(active.length);
  $('cancel-all').hidden = active.length < 3;
  updateStatus();
});

store.addEventListener('progress', ({ detail }) => {
  update(detail);
  updateStatus();
});

/* The last first, so that none of them begins meanwhile. */
$('cancel-all').addEventListener('click', async () => {
  for (const job of store.active().reverse())
    await store.cancel(job.id).catch(complain);
});
