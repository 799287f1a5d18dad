/* files.js: which models, LoRAs and other files there are, with what lies beside them: a picture,
 * words that a LoRA wants in prompts, what its maker says. Asked for only while the part is open. */
import { ApiError, get, showPicture } from './api.js';
import { $, complain, h, icon, setText } from './dom.js';
import { store } from './store.js';

const PAGE = 24;
const WAIT_MS = 250; /* after a letter of the search */
let shown = 0, asked = 0, timer;

const kind = () => $('files-kind').value;
const query = () => $('files-query').value.trim();

async function ask(offset) {
  if (kind() !== 'model')
    return get(`api/files?kind=${kind()}&limit=${PAGE}&offset=${offset}&q=${encodeURIComponent(query())}`);
  const words = query().toLowerCase();
  const found = store.models.filter(({ name }) => name.toLowerCase().includes(words));
  return { files: found.slice(offset, offset + PAGE), count: found.length };
}

/* The tag goes behind what the prompt says, with the words that the LoRA wants. */
function use({ name, weight, trigger }) {
  const prompt = $('prompt');
  const words = trigger && !prompt.value.includes(trigger) ? `, ${trigger}` : '';
  prompt.value = `${prompt.value.trimEnd()}${words} <lora:${name}:${weight ?? 1}>`.trimStart();
  prompt.dispatchEvent(new Event('input', { bubbles: true }));
  prompt.focus();
}

function makeItem(file) {
  const { name, title, family, architecture, base, trigger, description, preview, problem } = file;
  const picture = preview && h('img', { alt: '', class: 'beside' });
  if (picture)
    showPicture(picture, `api/files/preview?kind=${kind()}&name=${encodeURIComponent(name)}`);
  const facts = [title !== name && title, family ?? architecture, base].filter(Boolean).join(' · ');
  const button = kind() === 'lora' && !problem && !/[:<>]/.test(name) &&
    h('button', { onclick: () => use(file), 'aria-label': `Use ${name}` }, icon('brush'), 'Use');
  return h('li', { class: 'job', 'data-file': name }, picture, h('div', { class: 'job-text' },
    h('p', { class: 'label-prompt' }, name),
    facts && h('p', { class: 'now' }, facts),
    trigger && h('p', {}, h('strong', {}, 'Words: '), trigger),
    description && h('p', { class: 'now told' }, description),
    problem && h('p', { class: 'error' }, problem),
    button && h('div', { class: 'job-buttons' }, button)));
}

async function show(more) {
  const mine = ++asked;
  if (!$('models').open)
    return;
  try {
    const { files, count } = await ask(more ? shown : 0);
    if (mine !== asked)
      return;
    const items = files.map(makeItem);
    if (more)
      $('files').append(...items);
    else
      $('files').replaceChildren(...items);
    shown = (more ? shown : 0) + files.length;
    $('files-more').hidden = shown >= count;
    setText($('files-count'), count ? `${shown} of ${count}` : 'None');
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403))
      complain(error);
  }
}

$('models').addEventListener('toggle', () => show(false));
$('files-kind').addEventListener('change', () => show(false));
$('files-more').addEventListener('click', () => show(true));
$('files-query').addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(show, WAIT_MS, false);
});
store.addEventListener('models', () => show(false));
