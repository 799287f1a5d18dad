/* card.js: what the chosen model paints. Of the one inside the binary the page knows the words that it
 * was told: its nouns can be tapped, and words that mean nothing to it are named, gently. */
import { $, h, setText } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';

const BUILTIN = 'pictor-mini', SHOWN = 18, WAIT_MS = 500;
/* Said by people and told to no model. */
const SMALL = new Set(('a an the and or of in on at with to is are as by for from it its this that very '
  + 'my your his her their painting picture photo image drawing style beautiful').split(' '));
let known = null, from = 0, timer;

const chosen = () => store.models.find(({ name }) => name === $('model').value);
const isBuiltin = () => chosen()?.name === BUILTIN;

const load = async () => { known ??= await import('../words.js'); };

/* One noun more in the prompt, with a comma where there are words already. */
function add(noun) {
  const prompt = $('prompt'), words = prompt.value.trimEnd();
  const article = /^[aeiou]/.test(noun) ? 'an' : 'a';
  prompt.value = words ? `${words}, ${noun}` : `${article} ${noun}`;
  prompt.dispatchEvent(new Event('input', { bubbles: true }));
  prompt.focus();
}

function showNouns() {
  const { NOUNS } = known;
  const some = Array.from({ length: SHOWN }, (_, i) => NOUNS[(from + i * 7) % NOUNS.length]);
  $('nouns').replaceChildren(...[...new Set(some)].map((noun) => h('button', { class: 'chip',
    onclick: () => add(noun) }, noun)));
}

export async function show() {
  const model = chosen();
  if (!model)
    return;
  setText($('card-title'), t('what_model_paints', { model: model.title }));
  setText($('card-text'), isBuiltin()
    ? t('builtin_paints')
    : model.description || t('its_file_says_nothing'));
  $('nouns-part').hidden = !isBuiltin();
  if (isBuiltin() && $('card').open) {
    await load();
    showNouns();
  }
  note();
}

/* A word's forms as captions may have them. */
const forms = (word) => [word, word.replace(/s$/, ''), word.replace(/es$/, ''), word.replace(/ies$/, 'y'),
  word.replace(/ves$/, 'f'), `${word}s`];

/* The words of a prompt that no caption had; tags and weights aside. */
function unknown(prompt) {
  const words = prompt.toLowerCase().replace(/<[^<>]*>/g, ' ').match(/\p{L}+/gu) ?? [];
  return [...new Set(words)].filter((word) => word.length > 1 && !SMALL.has(word) &&
    !forms(word).some((form) => known.WORDS.has(form)));
}

async function note() {
  const prompt = $('prompt').value;
  if (!isBuiltin() || !prompt.trim()) {
    $('unknown').hidden = true;
    return;
  }
  await load();
  if (prompt !== $('prompt').value)
    return;
  const words = unknown(prompt).slice(0, 4);
  $('unknown').hidden = words.length === 0;
  setText($('unknown-words'), t('never_shown', { model: chosen().title,
    words: words.map((word) => t('quoted', { word })).join(', ') }));
}

$('nouns-more').addEventListener('click', () => {
  from += SHOWN;
  showNouns();
});
for (const id of ['larger', 'larger-too'])
  $(id).addEventListener('click', () => { location.hash = '#models'; });
$('form').addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(show, WAIT_MS);
});
store.addEventListener('ready', () => setTimeout(show));
store.addEventListener('models', show);
