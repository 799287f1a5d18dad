/* edit_mask.js: which part of a picture is to be painted anew: a canvas of the picture's size that is
 * pigment there and nothing elsewhere. Each change can be taken back. */

const COLOUR = '#2a55d8', KEPT = 24; /* changes that can be taken back */

export class Mask {
  constructor(width, height) {
    this.canvas = document.createElement('canvas');
    Object.assign(this.canvas, { width, height });
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.past = [];
    this.future = [];
    this.now = this.#read();
  }

  /* A byte a pixel: its alpha. */
  #read() {
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    const out = new Uint8Array(data.length / 4);
    for (let i = 0; i < out.length; i++)
      out[i] = data[i * 4 + 3];
    return out;
  }

  #write(alpha) {
    const { width, height } = this.canvas, image = this.context.createImageData(width, height);
    for (let i = 0; i < alpha.length; i++) {
      image.data[i * 4] = 42;
      image.data[i * 4 + 1] = 85;
      image.data[i * 4 + 2] = 216;
      image.data[i * 4 + 3] = alpha[i];
    }
    this.context.putImageData(image, 0, 0);
    this.now = alpha;
  }

  get empty() {
    return !this.now.some((alpha) => alpha > 127);
  }

  /* What was drawn since is one change. */
  commit() {
    this.#remember();
    this.now = this.#read();
  }

  #remember() {
    this.past.push(this.now);
    if (this.past.length > KEPT)
      this.past.shift();
    this.future = [];
  }

  #step(from, to) {
    if (!from.length)
      return false;
    to.push(this.now);
    this.#write(from.pop());
    return true;
  }

  undo() { return this.#step(this.past, this.future); }

  redo() { return this.#step(this.future, this.past); }

  #draw(erase, run) {
    const { context } = this;
    context.save();
    context.globalCompositeOperation = erase ? 'destination-out' : 'source-over';
    context.fillStyle = context.strokeStyle = COLOUR;
    context.lineCap = context.lineJoin = 'round';
    run(context);
    context.restore();
  }

  /* Points are in the picture's pixels; `size` is the brush's width there. */
  stroke(from, to, size, erase) {
    this.#draw(erase, (context) => {
      context.lineWidth = size;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(to.x, to.y + 0.01); /* a line of no length is not drawn */
      context.stroke();
    });
  }

  lasso(points, erase) {
    this.#draw(erase, (context) => {
      context.beginPath();
      for (const { x, y } of points)
        context.lineTo(x, y);
      context.closePath();
      context.fill();
    });
    this.commit();
  }

  /* All around `at` whose colour is near that of the pixel there: `reach` 0..100. */
  wand(picture, at, reach, erase) {
    const { width, height } = this.canvas, { data } = picture;
    const x0 = Math.floor(at.x), y0 = Math.floor(at.y);
    if (x0 < 0 || y0 < 0 || x0 >= width || y0 >= height)
      return;
    const most = (reach / 100 * 441) ** 2, first = (y0 * width + x0) * 4; /* 441: from black to white */
    const near = (i) => (data[i * 4] - data[first]) ** 2 + (data[i * 4 + 1] - data[first + 1]) ** 2 +
      (data[i * 4 + 2] - data[first + 2]) ** 2 <= most;
    const found = new Uint8Array(width * height), stack = [y0 * width + x0];
    found[stack[0]] = 1;
    while (stack.length) {
      const i = stack.pop(), x = i % width;
      for (const next of [x > 0 && i - 1, x < width - 1 && i + 1, i >= width && i - width,
        i < width * (height - 1) && i + width])
        if (next !== false && !found[next] && near(next)) {
          found[next] = 1;
          stack.push(next);
        }
    }
    this.#add(found, erase);
  }

  /* A pixel wider than what was found: edges are blends of both sides. */
  #add(found, erase) {
    const { width, height } = this.canvas, alpha = this.now.slice(), value = erase ? 0 : 255;
    for (let i = 0; i < found.length; i++) {
      if (!found[i])
        continue;
      const x = i % width, y = (i - x) / width;
      alpha[i] = value;
      if (x > 0)
        alpha[i - 1] = value;
      if (x < width - 1)
        alpha[i + 1] = value;
      if (y > 0)
        alpha[i - width] = value;
      if (y < height - 1)
        alpha[i + width] = value;
    }
    this.#change(alpha);
  }

  #change(alpha) {
    this.#remember();
    this.#write(alpha);
  }

  invert() { this.#change(this.now.map((alpha) => 255 - alpha)); }

  clear() { this.#change(new Uint8Array(this.now.length)); }

  /* White on black, as a data: URL of a PNG. */
  toDataUrl() {
    const { width, height } = this.canvas, sheet = document.createElement('canvas');
    Object.assign(sheet, { width, height });
    const context = sheet.getContext('2d'), image = context.createImageData(width, height);
    for (let i = 0; i < this.now.length; i++) {
      image.data.fill(this.now[i], i * 4, i * 4 + 3);
      image.data[i * 4 + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return sheet.toDataURL('image/png');
  }
}
