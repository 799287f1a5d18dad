/* additions.js: LoRAs, embeddings and wildcards as chips: a tap puts one into the prompt, another takes it
 * out again. */
import { get } from '../api.js';
import { $, announce, complain, h, icon } from '../dom.js';
import { t } from '../text.js';

const SHOWN = 24, WAIT_MS = 250;
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
/* kind: [title, what it adds, what finds it in a prompt]. */
const KINDS = {
  lora: [t('loras'), ({ name, weight, trigger }, prompt) => `${trigger && !prompt.includes(trigger) ? `, ${trigger}` : ''} <lora:${name}:${weight ?? 1}>`,
    ({ name, trigger }) => new RegExp(`${trigger ? `(?:,? ?${escaped(trigger)})?` : ''} ?<lora:${escaped(name)}(?::[^<>]*)?>`)],
  embedding: [t('embeddings'), ({ name }) => `, ${name}`, ({ name }) => new RegExp(`(?:, ?)?(?<![\\w-])${escaped(name)}(?![\\w-])`)],
  wildcard: [t('wildcards'), ({ name }) => `, __${name}__`, ({ name }) => new RegExp(`(?:, ?)?__${escaped(name)}__`)],
};
let asked = 0, timer, chips = [];

function write(prompt) {
  $('prompt').value = prompt.replace(/^[, ]+/, '');
  $('prompt').dispatchEvent(new Event('input', { bubbles: true }));
}

function press(kind, file) {
  const prompt = $('prompt').value.trimEnd(), [, add, finds] = KINDS[kind], found = finds(file);
  const has = found.test(prompt);
  write(has ? prompt.replace(found, '') : prompt + add(file, prompt));
  announce(t(has ? 'taken_out_of_the_prompt' : 'added_to_the_prompt'));
}

/* What the prompt has is pressed. */
function mark() {
  for (const { chip, finds } of chips)
    chip.setAttribute('aria-pressed', String(finds.test($('prompt').value)));
}

async function listOf(kind, query) {
  const { files, count } = await get(`api/files?kind=${kind}&limit=${SHOWN}&q=${encodeURIComponent(query)}`);
  return { kind, count, files: files.filter(({ problem, name }) => !problem && !/[:<>]/.test(name)) };
}

async function fill() {
  const mine = ++asked, query = $('additions-find').value.trim();
  const lists = await Promise.all(Object.keys(KINDS).map((kind) => listOf(kind, query)));
  if (mine !== asked)
    return;
  chips = [];
  const some = lists.filter(({ files }) => files.length);
  $('additions-list').replaceChildren(...some.map(({ kind, files, count }) => h('div', {}, h('span', { id: `additions-${kind}`, class: 'legend' },
    KINDS[kind][0], ' ', count > SHOWN && h('small', {}, t('n_of', { n: files.length, all: count }))),
  h('div', { class: 'extras', role: 'group', 'aria-labelledby': `additions-${kind}` }, ...files.map((file) => {
    const chip = h('button', { class: 'chip', title: file.trigger ?? '', onclick: () => press(kind, file) }, file.name);
    chips.push({ chip, finds: KINDS[kind][2](file) });
    return chip;
  })))));
  $('additions-search').hidden = !query && !lists.some(({ count }) => count > SHOWN);
  $('additions-none').hidden = Boolean(query) || some.length > 0;
  mark();
}

function make() {
  $('additions-body').append(
    h('div', { id: 'additions-search', class: 'search', role: 'search', hidden: true }, icon('search'),
      h('input', { id: 'additions-find', type: 'search', placeholder: t('part_of_a_name'), 'aria-label': t('part_of_a_name'), autocomplete: 'off',
        spellcheck: 'false', oninput: (event) => {
          event.stopPropagation();
          clearTimeout(timer);
          timer = setTimeout(() => fill().catch(complain), WAIT_MS);
        } })),
    h('div', { id: 'additions-list', class: 'additions-list' }),
    h('p', { id: 'additions-none', class: 'now', hidden: true }, t('no_additions'), ' ', h('a', { href: '#models' }, t('models'))));
  $('form').addEventListener('input', mark);
}

export async function open() {
  if (!$('additions-find'))
    make();
  await fill();
}
