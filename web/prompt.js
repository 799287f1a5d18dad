/* prompt.js: how long the prompts are for the model, by the server's count, and what of them would be cut.
 * It comes with the first words. */
import { post } from './api.js';
import { $, setText } from './dom.js';
import { store } from './store.js';
import { t } from './text.js';

const WAIT_MS = 600;
let timer, asked = '', able = true;

function say(part, { tokens, chunk_tokens: chunk, chunks, cut }) {
  const most = chunk * Math.max(1, chunks);
  setText(part, t('n_of', { n: tokens, all: most }));
  part.title = t(chunks > 1 ? 'tokens_in_parts' : 'tokens', { n: tokens, chunks, chunk });
  part.classList.toggle('bad', Boolean(cut));
  return cut;
}

async function count() {
  const prompt = $('prompt').value, negative = $('negative_prompt').value, model = $('model').value;
  const question = JSON.stringify([prompt, negative, model]);
  if (!able || question === asked || store.state !== 'online')
    return;
  asked = question;
  const parts = [$('prompt-tokens'), $('negative-tokens')];
  if (!prompt.trim() && !negative.trim()) {
    parts.forEach((part) => setText(part, ''));
    return;
  }
  try {
    const answer = await post('api/tokens', { prompt, negative_prompt: negative, ...(model && { model }) });
    if (question !== asked)
      return;
    const both = [answer.prompt, answer.negative_prompt], cuts = [];
    both.forEach((each, i) => {
      setText(parts[i], '');
      if (each && each.tokens > 0 && say(parts[i], each))
        cuts.push(each.cut);
    });
    setText($('too-long'), cuts.length ? t('too_long_by', { words: cuts[0].slice(0, 80) }) : '');
  } catch (error) {
    able = error.status !== 404; /* an older server has none */
  }
}

export function later() {
  clearTimeout(timer);
  timer = setTimeout(count, WAIT_MS);
}

for (const id of ['prompt', 'negative_prompt', 'model'])
  $(id).addEventListener('input', later);
store.addEventListener('connection', later);
