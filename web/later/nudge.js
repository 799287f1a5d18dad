/* nudge.js: Ctrl+Up and Ctrl+Down in a prompt weigh the words that are selected, or the one at the cursor,
 * by a tenth more or less: (words:1.1). */
const STEP = 0.1, MOST = 3;

/* The part of `text` to weigh: [from, to, weight], its brackets within from and to. */
function partOf(text, start, end) {
  for (const found of text.matchAll(/\(([^()]*):([\d.]+)\)/g))
    if (found.index <= start && end <= found.index + found[0].length)
      return [found.index, found.index + found[0].length, found[1], Number(found[2])];
  if (start === end) {
    while (start > 0 && /[^\s,()[\]{}<>|:]/.test(text[start - 1]))
      start--;
    while (end < text.length && /[^\s,()[\]{}<>|:]/.test(text[end]))
      end++;
  }
  while (end > start && /\s/.test(text[end - 1]))
    end--;
  return [start, end, text.slice(start, end), 1];
}

export function nudge(area, ways) {
  const [from, to, words, weight] = partOf(area.value, area.selectionStart, area.selectionEnd);
  if (!words.trim() || /[()]/.test(words))
    return;
  const next = Math.round(Math.min(MOST, Math.max(0, weight + ways * STEP)) * 10) / 10;
  const text = next === 1 ? words : `(${words}:${next})`;
  area.setRangeText(text, from, to, 'select');
  area.dispatchEvent(new Event('input', { bubbles: true }));
}
