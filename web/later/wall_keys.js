/* wall_keys.js: the arrow keys go from picture to picture on the wall, Delete takes one off it. */
import { layout, pictures, removePicture } from '../gallery.js';

const NEWEST = -1; /* the large one, above the wall */

/* The picture in the next row that is most nearly below, or above. */
function across({ rows }, at, by) {
  const row = rows.findIndex(({ first, after }) => at >= first && at < after), next = rows[row + by];
  if (at === NEWEST)
    return by > 0 ? 0 : NEWEST;
  if (!next)
    return by > 0 ? at : NEWEST;
  const middle = ([left, width]) => left + width / 2, from = middle(rows[row].places[at - rows[row].first]);
  const far = next.places.map((place) => Math.abs(middle(place) - from));
  return next.first + far.indexOf(Math.min(...far));
}

function focus(wall, at) {
  const { rows, items, large, bring } = wall;
  if (at === NEWEST && !large)
    return;
  const card = bring(at === NEWEST ? large : items[at], rows.find(({ first, after }) => at >= first && at < after));
  card?.querySelector('.open, button').focus({ preventScroll: true });
  card?.scrollIntoView({ block: 'nearest' });
}

export async function press(key, card) {
  const wall = layout(), { id } = { id: card.dataset.image };
  const found = wall.items.findIndex(({ image }) => image?.id === id), at = found < 0 ? NEWEST : found;
  if (key === 'Delete') {
    const picture = pictures().find(({ image }) => image.id === id);
    if (!picture)
      return;
    removePicture(picture);
    await Promise.resolve(); /* the wall is hung anew */
    const now = layout();
    focus(now, Math.min(at, now.items.length - 1));
    return;
  }
  const next = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: across(wall, at, -1), ArrowDown: across(wall, at, 1) }[key];
  if (next >= NEWEST && next < wall.items.length)
    focus(wall, next);
}
