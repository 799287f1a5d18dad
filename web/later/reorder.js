/* reorder.js: jobs that wait are put in order: dragged by their grip, or moved by the arrow keys on it. */
import { announce, complain, h, icon } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';

const EDGE = 48, SCROLL = 16; /* CSS pixels: near there, the page goes along; so far each time */
const waiting = () => store.active().filter(({ state }) => state === 'queued').map(({ id }) => id);

/* Puts a job before `next`, or last: then all that wait behind it go before it. */
async function place(id, next) {
  const ids = waiting(), at = ids.indexOf(id);
  if (at < 0 || ids[at + 1] === next)
    return;
  store.held = true; /* nor do they show the orders in between */
  try {
    if (next)
      await store.move(id, next);
    else
      for (const each of ids.slice(at + 1))
        await store.move(each, id);
  } finally {
    store.held = false;
    store.tellAgain();
  }
}

function drag(event, row, id) {
  const list = row.parentElement, grip = event.currentTarget;
  if (event.button !== 0)
    return;
  event.preventDefault();
  grip.setPointerCapture(event.pointerId);
  row.classList.add('dragged');
  store.held = true; /* rows stay where they are meanwhile */
  grip.onpointermove = ({ clientY }) => {
    if (clientY > innerHeight - EDGE || clientY < EDGE * 2) /* the page's head covers the top */
      scrollBy(0, clientY < EDGE * 2 ? -SCROLL : SCROLL);
    const others = [...list.children].filter((each) => each !== row && each.querySelector('.grip:not([hidden])'));
    const middle = (each) => each.getBoundingClientRect().top + each.offsetHeight / 2;
    const behind = others.filter((each) => middle(each) > clientY), ahead = others.filter((each) => !behind.includes(each));
    /* The others move: a row that is taken out of the document is let go. */
    for (const each of ahead)
      if (each.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_PRECEDING)
        list.insertBefore(each, row);
    for (const each of behind.reverse())
      if (each.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING)
        list.insertBefore(each, row.nextElementSibling);
  };
  grip.onpointerup = grip.onpointercancel = ({ type }) => {
    grip.onpointermove = grip.onpointerup = grip.onpointercancel = null;
    row.classList.remove('dragged');
    store.held = false;
    if (type === 'pointerup')
      place(id, row.nextElementSibling?.dataset.job).catch(complain);
    store.tellAgain();
  };
}

function keys(event, id) {
  const ids = waiting(), at = ids.indexOf(id);
  const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: ids.length - 1 }[event.key];
  if (to === undefined)
    return;
  event.preventDefault();
  if (to < 0 || to >= ids.length || to === at)
    return;
  place(id, to < at ? ids[to] : ids[to + 1])
    .then(() => announce(t('moved_to', { n: to + 1, all: ids.length }))).catch(complain);
}

/* The grip of a job's row. */
export function gripOf(row, id) {
  return h('button', { class: 'bare grip', title: t('drag_to_move'), 'aria-label': t('drag_to_move'),
    onpointerdown: (event) => drag(event, row, id), onkeydown: (event) => keys(event, id) }, icon('grip'));
}
