/* edit_board.js: the picture with its mask on a canvas that fills the window: looking closer, moving
 * about, and the tools. Pointers, pens and fingers by pointer events; the keyboard has a cursor.
 *
 *     picture's pixels  --(scale, left, top)-->  CSS pixels of the canvas
 *
 * One finger or pen works with the tool, two move and zoom. */
import { announce } from '../dom.js';
import { t } from '../text.js';
import { Mask } from './edit_mask.js';

const ZOOM = [0.05, 16], GRIP = 22, SNAP = 8; /* GRIP: CSS pixels around an edge that take hold of it */
export const SIDES = ['left', 'right', 'up', 'down'];

export class Board {
  /* `changed()` is called when there is something else to say; `canvas` fills its parent. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, tool: 'brush', size: 40, erase: false, reach: 12, blur: 4 });
    this.extend = { left: 0, right: 0, up: 0, down: 0 };
    this.pointers = new Map();
    this.context = canvas.getContext('2d');
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    const on = (name, run) => canvas.addEventListener(name, run.bind(this), { passive: false });
    on('pointerdown', this.#down);
    on('pointermove', this.#move);
    on('pointerup', this.#up);
    on('pointercancel', this.#up);
    on('pointerleave', () => { this.ring = null; this.draw(); });
    on('wheel', this.#wheel);
    on('keydown', this.#key);
    on('contextmenu', (event) => event.preventDefault());
    on('blur', () => { this.cursor = null; this.draw(); });
  }

  set(bitmap) {
    this.bitmap = bitmap;
    const { width, height } = bitmap, sheet = document.createElement('canvas');
    Object.assign(sheet, { width, height });
    const context = sheet.getContext('2d', { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    this.pixels = context.getImageData(0, 0, width, height);
    this.mask = new Mask(width, height);
    this.extend = { left: 0, right: 0, up: 0, down: 0 };
    this.size = Math.round(Math.max(width, height) / 10);
    this.cursor = null;
    this.whole();
    this.changed();
  }

  get beyond() {
    return SIDES.some((side) => this.extend[side] > 0);
  }

  /* ---- where ---- */

  #fit() {
    const box = this.canvas.parentElement.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    if (!box.width)
      return;
    this.wide = box.width;
    this.tall = box.height;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.ratio = ratio;
    this.whole();
  }

  /* All of it in sight, with some room around. */
  whole() {
    if (!this.bitmap || !this.wide)
      return;
    const { left, right, up, down } = this.extend;
    const across = this.bitmap.width + left + right, high = this.bitmap.height + up + down;
    const room = Math.min(this.wide, this.tall) < 500 ? 24 : 56;
    this.scale = Math.min((this.wide - room * 2) / across, (this.tall - room * 2) / high, 4);
    this.left = (this.wide - across * this.scale) / 2 + left * this.scale;
    this.top = (this.tall - high * this.scale) / 2 + up * this.scale;
    this.draw();
    this.changed();
  }

  zoom(by, x = this.wide / 2, y = this.tall / 2) {
    const scale = Math.min(ZOOM[1], Math.max(ZOOM[0], this.scale * by)), real = scale / this.scale;
    this.left = x - (x - this.left) * real;
    this.top = y - (y - this.top) * real;
    this.scale = scale;
    this.draw();
    this.changed();
  }

  /* Where the picture lies with what is beyond its edges: CSS pixels. */
  get frame() {
    const { extend: { left, right, up, down }, bitmap, scale } = this;
    return { left: this.left - left * scale, top: this.top - up * scale,
      width: (bitmap.width + left + right) * scale, height: (bitmap.height + up + down) * scale };
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #pixel({ x, y }) {
    return { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale };
  }

  /* ---- pointers ---- */

  #width(event) {
    return event.pointerType === 'pen' && event.pressure > 0 ?
      this.size * Math.max(0.1, event.pressure * 1.5) : this.size;
  }

  #edge({ x, y }) {
    const { left, top, width, height } = this.frame;
    const at = { left, right: left + width, up: top, down: top + height };
    const inX = x > at.left - GRIP && x < at.right + GRIP, inY = y > at.up - GRIP && y < at.down + GRIP;
    return SIDES.find((side) => ['left', 'right'].includes(side) ?
      inY && Math.abs(x - at[side]) < GRIP : inX && Math.abs(y - at[side]) < GRIP) ?? null;
  }

  #down(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.cursor = null;
    const at = this.#place(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) { /* the first finger was no stroke after all */
      if (this.act?.stroke)
        this.mask.commit(), this.mask.undo();
      this.act = { pinch: true };
      return;
    }
    const erase = this.erase || event.button === 2 || (event.buttons & 32) !== 0; /* 32: a pen's other end */
    const point = this.#pixel(at);
    if (event.button === 1 || this.tool === 'move') {
      this.act = { pan: true };
    } else if (this.tool === 'edges') {
      this.act = { edge: this.#edge(at) };
      if (!this.act.edge)
        this.act = { pan: true };
    } else if (this.beyond) {
      this.act = { pan: true };
    } else if (this.tool === 'wand') {
      this.mask.wand(this.pixels, point, this.reach, erase);
      this.changed();
    } else if (this.tool === 'lasso') {
      this.act = { lasso: [point], erase };
    } else {
      this.act = { stroke: point, erase };
      this.mask.stroke(point, point, this.#width(event), erase);
    }
    this.draw();
  }

  #move(event) {
    const at = this.#place(event), before = this.pointers.get(event.pointerId);
    this.ring = event.pointerType === 'touch' ? null : at;
    if (this.tool === 'edges' && !this.act)
      this.canvas.style.cursor = { left: 'ew-resize', right: 'ew-resize', up: 'ns-resize', down: 'ns-resize' }[
        this.#edge(at)] ?? 'grab';
    if (before && this.act)
      this.#drag(event, before, at);
    if (before)
      this.pointers.set(event.pointerId, at);
    this.draw();
  }

  #drag(event, before, at) {
    const { act } = this;
    if (act.pinch) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (!other)
        return;
      const far = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      this.left += (at.x - before.x) / 2;
      this.top += (at.y - before.y) / 2;
      this.zoom(far(at) / far(before), (at.x + other.x) / 2, (at.y + other.y) / 2);
    } else if (act.pan) {
      this.left += at.x - before.x;
      this.top += at.y - before.y;
    } else if (act.edge) {
      this.#pull(act.edge, this.#pixel(at));
    } else {
      const all = event.getCoalescedEvents?.() ?? [];
      for (const each of all.length ? all : [event]) {
        const point = this.#pixel(this.#place(each));
        if (act.lasso) {
          act.lasso.push(point);
        } else {
          this.mask.stroke(act.stroke, point, this.#width(each), act.erase);
          act.stroke = point;
        }
      }
    }
  }

  #pull(side, { x, y }) {
    const { width, height } = this.bitmap;
    const out = { left: -x, right: x - width, up: -y, down: y - height }[side];
    this.extendTo(side, out);
  }

  extendTo(side, pixels) {
    const most = side === 'left' || side === 'right' ? this.bitmap.width : this.bitmap.height;
    this.extend[side] = Math.min(most, Math.max(0, Math.round(pixels / SNAP) * SNAP)) || 0;
    this.draw();
    this.changed();
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    const { act } = this;
    if (act?.stroke)
      this.mask.commit();
    if (act?.lasso?.length > 2)
      this.mask.lasso(act.lasso, act.erase);
    if (!act?.pinch || this.pointers.size === 0)
      this.act = null;
    this.draw();
    this.changed();
  }

  #wheel(event) {
    event.preventDefault();
    if (event.shiftKey) {
      this.left -= event.deltaY;
      this.draw();
    } else {
      const { x, y } = this.#place(event);
      this.zoom(Math.exp(-event.deltaY / 400), x, y);
    }
  }

  /* ---- the keyboard ---- */

  #key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { width, height } = this.bitmap;
    if (event.ctrlKey || event.metaKey || event.altKey)
      return;
    if (move) {
      const step = Math.max(1, this.size / 3), at = this.cursor ?? { x: width / 2, y: height / 2 };
      this.cursor = { x: Math.min(width, Math.max(0, at.x + move[0] * step)),
        y: Math.min(height, Math.max(0, at.y + move[1] * step)) };
    } else if (event.key === ' ') {
      this.cursor ??= { x: width / 2, y: height / 2 };
      if (this.tool === 'wand') {
        this.mask.wand(this.pixels, this.cursor, this.reach, this.erase);
      } else {
        this.mask.stroke(this.cursor, this.cursor, this.size, this.erase);
        this.mask.commit();
      }
      announce(this.erase ? t('erased_here') : t('marked_here'));
      this.changed();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  /* ---- showing ---- */

  draw() {
    if (!this.bitmap || !this.wide || this.asked)
      return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.#paint();
    });
  }

  #paint() {
    const { context, bitmap, scale, left, top } = this, { width, height } = bitmap;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.wide, this.tall);
    context.imageSmoothingQuality = 'high';
    context.imageSmoothingEnabled = scale < 3;
    if (this.tool === 'edges' || this.beyond)
      this.#paintEdges();
    context.drawImage(bitmap, left, top, width * scale, height * scale);
    if (!this.beyond) {
      context.globalAlpha = 0.6;
      if (this.blur > 0 && !this.act)
        context.filter = `blur(${this.blur * scale}px)`;
      context.save();
      context.beginPath();
      context.rect(left, top, width * scale, height * scale);
      context.clip();
      context.drawImage(this.mask.canvas, left, top, width * scale, height * scale);
      context.restore();
      context.filter = 'none';
      context.globalAlpha = 1;
      this.#paintTool();
    }
  }

  /* What will be new is hatched, and says how wide it is; the edges have grips. */
  #paintEdges() {
    const { context, frame: { left: x, top: y, width: w, height: h } } = this;
    context.fillStyle = '#2a55d838';
    context.fillRect(x, y, w, h);
    context.strokeStyle = '#2a55d8';
    context.lineWidth = 2;
    context.setLineDash([8, 6]);
    context.strokeRect(x, y, w, h);
    context.setLineDash([]);
    const ends = { left: [x, y + h / 2, 5, 36], right: [x + w, y + h / 2, 5, 36], up: [x + w / 2, y, 36, 5],
      down: [x + w / 2, y + h, 36, 5] };
    for (const side of SIDES) {
      const [cx, cy, across, high] = ends[side];
      context.fillStyle = '#fff';
      context.strokeStyle = '#15171c';
      context.lineWidth = 1.5;
      context.beginPath();
      context.roundRect(cx - across / 2 - 2, cy - high / 2 - 2, across + 4, high + 4, 5);
      context.fill();
      context.stroke();
    }
  }

  #ring(x, y, size) {
    const { context } = this;
    for (const [color, grow] of [['#000', 0], ['#fff', 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(x, y, Math.max(2, size / 2 + grow), 0, 7);
      context.stroke();
    }
  }

  #paintTool() {
    const { context, scale, act, cursor, ring } = this;
    if (act?.lasso) {
      context.beginPath();
      for (const { x, y } of act.lasso)
        context.lineTo(this.left + x * scale, this.top + y * scale);
      for (const [color, dash] of [['#fff', []], ['#15171c', [5, 5]]]) {
        context.strokeStyle = color;
        context.lineWidth = 1.5;
        context.setLineDash(dash);
        context.stroke();
      }
      context.setLineDash([]);
    }
    if (cursor)
      this.#ring(this.left + cursor.x * scale, this.top + cursor.y * scale, this.size * scale);
    else if (ring && this.tool === 'brush')
      this.#ring(ring.x, ring.y, this.size * scale);
  }
}
