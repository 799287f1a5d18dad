/* early.js: what the page needs first is asked for while its modules are still on their way: its
 * language's texts, and what the server knows. It waits for nothing, not even for the page (async), and
 * imports nothing. An answer that was asked for here is taken once; what fails is asked for again, as
 * everything else is, by api.js. */
const LANGUAGES = ['en', 'de'];
export const LANGUAGE = 'pictor.language', KEY = 'pictor.key'; /* what the browser remembers them as */

function chosen() {
  try {
    const stored = localStorage.getItem(LANGUAGE);
    if (LANGUAGES.includes(stored))
      return stored;
  } catch { /* the browser's, then */ }
  return navigator.languages.map((each) => each.slice(0, 2)).find((each) => LANGUAGES.includes(each)) ?? LANGUAGES[0];
}

export const language = chosen();
export const texts = import(`./text/${language}.js`);
export const storedKey = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);

const answers = new Map(), abort = new AbortController();
const headers = storedKey ? { Authorization: `Bearer ${storedKey}` } : {};

function ask(path, after, options = { headers }) {
  const answer = after.then(() => fetch(path, options));
  answer.catch(() => {});
  answers.set(path, answer);
  return answer;
}

/* Where a key is needed and none is here, all but the first would be refused. That one is the same with
 * a key and without: the page's head asks for it. The list is asked for when the events come, so that
 * none is missed in between. */
const allowed = ask('api/info', Promise.resolve(), {}).then((response) => response.clone().json()).then((info) => {
  if (info.keys_required && !storedKey)
    throw new Error('no key');
});
for (const path of ['api/models', 'api/schema', 'api/queue'])
  ask(path, allowed);
ask('api/jobs?limit=48', ask('api/events', allowed, { headers, signal: abort.signal }));

/* The answer, and what ends it; undefined: none was asked for. */
export function take(path) {
  const answer = answers.get(path);
  answers.delete(path);
  return answer && { answer, abort };
}

/* What was asked for with another key, or long ago. */
export const forget = () => answers.clear();
