/* text.js: what the page says, in the person's language: the browser's, or the one that was chosen here.
 *
 * text/LANGUAGE.js has what modules say by key, `words`; text/LANGUAGE_later.js what the views say that
 * are loaded when they are opened. The page itself is written in English: `page` of another language
 * has what stands in its place. {name} in a text is a value, and a text of several forms is told
 * apart by {n}. */
import { LANGUAGE, language, texts } from './early.js';

export { language };

const SAID = ['title', 'placeholder', 'aria-label', 'alt'], PATIENCE_MS = 2000;

const locale = navigator.languages.find((each) => each.startsWith(language)) ?? language; /* de-AT, say */
const { words, page = {} } = await texts;
const known = { ...words };
let more = null, messages = [], fields = {};

/* What the views say; to be there before any of their modules is. */
export function laterText() {
  more ??= import(`./text/${language}_later.js`).then((module) => {
    Object.assign(known, module.words);
    ({ messages = [], fields = {} } = module);
  });
  more.catch(() => { more = null; });
  return more;
}

/* What the server's messages are in this language is there, or does not come soon. */
export const serverWords = () => (language === 'en' ? Promise.resolve()
  : Promise.race([laterText().catch(() => {}), new Promise((done) => { setTimeout(done, PATIENCE_MS); })]));

/* What the browser knows of numbers takes it 10 ms to load: the first view does without. */
const isPlain = (number) => Number.isInteger(number) && number >= 0 && number < 1000;
export const numberText = (number, options) => (!options && isPlain(number) ? String(number)
  : number.toLocaleString(locale, { maximumFractionDigits: 3, useGrouping: 'min2', ...options }));
/* With so many digits behind the point. */
export const fixed = (number, digits) => numberText(number,
  { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const momentText = (at) => new Date(at).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' });
export const dayText = (at) => new Date(at).toLocaleDateString(locale);

/* Both languages have two, by the same rule. */
const formFor = (n) => (n === 1 ? 'one' : 'other');

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) =>
    (typeof values[name] === 'number' ? numberText(values[name]) : values[name]));
}

export function t(key, values = {}) {
  const text = known[key] ?? key;
  return fill(typeof text === 'string' ? text : text[formFor(values.n)] ?? text.other, values);
}

/* A field that has no control of its own on the page: its name, and what the server says of it. */
export const fieldText = (name, { description = '' }) => fields[name] ?? [name.replaceAll('_', ' '), description];

/* What the server says to programs, as this language has it: null where it has nothing. `nameOf`:
 * what a field is called here. */
export function messageText(message, nameOf) {
  for (const [is, text] of messages) {
    const found = message.match(is);
    if (found)
      return fill(text, { ...found.groups, ...(found.groups?.field && { field: nameOf(found.groups.field) }) });
  }
  return null;
}

const plain = (text) => text.trim().replace(/\s+/g, ' ');

/* The page's own words. */
function translate(root) {
  const nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const { currentNode: node } = nodes, said = page[plain(node.data)];
    if (said)
      node.data = node.data.replace(/^(\s*)[^]*?(\s*)$/, (_, before, after) => before + said + after);
  }
  for (const name of SAID)
    for (const element of root.querySelectorAll(`[${name}]`))
      element.setAttribute(name, page[plain(element.getAttribute(name))] ?? element.getAttribute(name));
}

document.documentElement.lang = language;
if (language !== 'en')
  translate(document.body);

const select = document.getElementById('language');
select.value = language;
select.addEventListener('change', () => {
  try {
    localStorage.setItem(LANGUAGE, select.value);
  } catch { /* it is forgotten with the page */ }
  location.reload();
});
