/* mask.js: brushing over the part of a picture that is to be repainted.
 *
 * Strokes are kept as lines in the picture's own coordinates, 0..1, and drawn anew when something
 * changes: so taking one back is simple, and the mask that is sent has the picture's size whatever
 * the size on screen. On screen the mask is pigment over the picture; sent, it is white on black. */
import { $, announce } from '../dom.js';
import { t } from '../text.js';

const SHOWN_MAX = 1024; /* pixels of the longer side on screen */

const canvas = $('mask');
let strokes = [], current = null, cursor = { x: 0.5, y: 0.5 }, focused = false;

/* Brush width as a part of the picture's width. */
const brush = () => Number($('brush-size').value) / 100;

function draw(context, width, height, color, background) {
  context.clearRect(0, 0, width, height);
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);
  }
  context.lineCap = context.lineJoin = 'round';
  for (const { points, size, erase } of strokes) {
    context.globalCompositeOperation = erase && !background ? 'destination-out' : 'source-over';
    context.strokeStyle = erase ? background ?? '#000' : color;
    context.lineWidth = size * width;
    context.beginPath();
    context.moveTo(points[0].x * width, points[0].y * height);
    for (const { x, y } of points)
      context.lineTo(x * width, y * height + 0.01); /* a line of no length is not drawn */
    context.stroke();
  }
  context.globalCompositeOperation = 'source-over';
}

function show() {
  const { width, height } = canvas, context = canvas.getContext('2d');
  draw(context, width, height, '#2a55d8', null);
  if (!focused)
    return;
  context.lineWidth = width / 200;
  for (const [color, grow] of [['#000', 0], ['#fff', context.lineWidth]]) {
    context.strokeStyle = color;
    context.beginPath();
    context.arc(cursor.x * width, cursor.y * height, brush() * width / 2 + grow, 0, 7);
    context.stroke();
  }
}

export const mask = {
  get empty() {
    return !strokes.some((stroke) => !stroke.erase);
  },

  /* A new picture: nothing is brushed yet. */
  reset(width, height) {
    const scale = Math.min(1, SHOWN_MAX / Math.max(width, height));
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    strokes = [];
    cursor = { x: 0.5, y: 0.5 };
    show();
  },

  undo() {
    strokes.pop();
    show();
  },

  clear() {
    strokes = [];
    show();
  },

  /* The mask as a PNG of this size, as a data: URL. */
  toDataUrl(width, height) {
    const sheet = document.createElement('canvas');
    sheet.width = width;
    sheet.height = height;
    draw(sheet.getContext('2d'), width, height, '#fff', '#000');
    return sheet.toDataURL('image/png');
  },
};

function begin(point) {
  current = { points: [point], size: brush(), erase: $('brush-erase').checked };
  strokes.push(current);
}

function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

canvas.addEventListener('pointerdown', (event) => {
  if (event.button !== 0)
    return;
  canvas.setPointerCapture(event.pointerId);
  focused = false;
  begin(pointOf(event));
  show();
});

canvas.addEventListener('pointermove', (event) => {
  if (!current)
    return;
  const all = event.getCoalescedEvents?.() ?? [];
  for (const each of all.length ? all : [event])
    current.points.push(pointOf(each));
  show();
});

for (const name of ['pointerup', 'pointercancel'])
  canvas.addEventListener(name, () => { current = null; });

/* The same with the keyboard. */
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener('keydown', (event) => {
  const move = MOVES[event.key];
  if (move) {
    const step = brush() / 2, clamp = (value) => Math.min(1, Math.max(0, value));
    cursor = {
      x: clamp(cursor.x + move[0] * step),
      y: clamp(cursor.y + move[1] * step * canvas.width / canvas.height),
    };
  } else if (event.key === ' ') {
    begin(cursor);
    current = null;
    announce($('brush-erase').checked ? t('erased_here') : t('brushed_here'));
  } else if (event.key === 'u') {
    mask.undo();
    announce(t('last_stroke_taken_back'));
  } else {
    return;
  }
  focused = true;
  event.preventDefault();
  show();
});

canvas.addEventListener('focus', () => {
  focused = canvas.matches(':focus-visible');
  show();
});
canvas.addEventListener('blur', () => {
  focused = false;
  show();
});
$('brush-size').addEventListener('input', show);
$('mask-undo').addEventListener('click', () => mask.undo());
$('mask-clear').addEventListener('click', () => mask.clear());
