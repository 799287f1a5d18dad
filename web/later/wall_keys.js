/* wall_keys.js: the arrow keys go from picture to picture on the wall, Delete takes one off it. */
import { layout, pictures, removePicture } from '../gallery.js';

const rowOf = (rows, at) => rows.findIndex(({ first, after }) => at >= first && at < after);

/* The picture in the next row that is most nearly below, or above; above all hangs the large one. */
function across({ rows, begin, placesOf }, at, by) {
  if (at < begin)
    return by > 0 ? begin : at;
  const row = rowOf(rows, at), next = rows[row + by];
  if (!next)
    return by > 0 || !begin ? at : 0;
  const middle = ([left, width]) => left + width / 2, from = middle(placesOf(rows[row])[at - rows[row].first]);
  const far = placesOf(next).map((place) => Math.abs(middle(place) - from));
  return next.first + far.indexOf(Math.min(...far));
}

function focus({ items, rows, begin, bring }, at) {
  const card = at >= 0 && at < items.length && bring(items[at], at < begin ? null : rows[rowOf(rows, at)]);
  if (!card)
    return;
  card.querySelector('.open, button').focus({ preventScroll: true });
  card.scrollIntoView({ block: 'nearest' });
}

export async function press(key, { dataset: { image: id } }) {
  const wall = layout(), at = wall.items.findIndex(({ image }) => image?.id === id);
  if (key !== 'Delete') {
    focus(wall, { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: across(wall, at, -1), ArrowDown: across(wall, at, 1) }[key]);
    return;
  }
  const picture = pictures().find(({ image }) => image.id === id);
  if (!picture)
    return;
  removePicture(picture);
  await Promise.resolve(); /* the wall is hung anew */
  const now = layout();
  focus(now, Math.min(at, now.items.length - 1));
}
