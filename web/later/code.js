/* code.js: a picture as a program: what asks this server for it once more, in three languages. A key is
 * never written into it: it comes from the environment. */
import { hasKey } from '../api.js';
import { copyText, complain, h, hostMessages, icon, setText, toast } from '../dom.js';
import { painter } from '../form.js';
import { paramsOf } from '../gallery.js';
import { t } from '../text.js';

const base = () => new URL('.', location.href.split('#')[0]).href.replace(/\/$/, '');
/* Seeds of 64 bits are text here; the server takes that as well as numbers. */
const json = (body) => JSON.stringify(body, null, 2);
const python = (body) => json(body).replace(/^(\s*"\w+": |\s+)(true|false|null)(?=,?$)/gm, (_, before, word) =>
  before + { true: 'True', false: 'False', null: 'None' }[word]);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const WAYS = {
  curl: (body) => `curl -sS ${base()}/api/jobs${hasKey() ? ' \\\n  -H "Authorization: Bearer $PICTOR_KEY"' : ''} \\
  -H 'Content-Type: application/json' \\
  -d ${quoted(json(body))}

# The answer has an id. This waits for the picture, and saves it:
# curl -sS ${base()}/api/jobs/ID            until "state" is "done"
# curl -sS ${base()}/api/images/IMAGE_ID -o picture.${body.format ?? 'png'}
`,
  Python: (body) => `import json${hasKey() ? ', os' : ''}, time, urllib.request

URL = "${base()}"
HEADERS = {"Content-Type": "application/json"${hasKey() ? ', "Authorization": "Bearer " + os.environ["PICTOR_KEY"]' : ''}}

def ask(path, body=None):
    data = json.dumps(body).encode() if body else None
    return urllib.request.urlopen(urllib.request.Request(URL + path, data, HEADERS)).read()

job = json.loads(ask("/api/jobs", ${python(body)}))
while job["state"] in ("queued", "running"):
    time.sleep(1)
    job = json.loads(ask("/api/jobs/" + job["id"]))
if job["state"] != "done":
    raise SystemExit(job["error"]["message"] if job["error"] else job["state"])
for image in job["images"]:
    with open(image["id"][:12] + "." + image["format"], "wb") as file:
        file.write(ask("/api/images/" + image["id"]))
        print(file.name)
`,
  'Node.js': (body) => `import { writeFile } from 'node:fs/promises';

const url = '${base()}';
const headers = { 'Content-Type': 'application/json'${hasKey() ? ', Authorization: \`Bearer \${process.env.PICTOR_KEY}\`' : ''} };

async function ask(path, body) {
  const response = await fetch(url + path, body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers });
  if (!response.ok)
    throw new Error(await response.text());
  return response;
}

let job = await (await ask('/api/jobs', ${json(body)})).json();
while (['queued', 'running'].includes(job.state)) {
  await new Promise((done) => { setTimeout(done, 1000); });
  job = await (await ask('/api/jobs/' + job.id)).json();
}
if (job.state !== 'done')
  throw new Error(job.error?.message ?? job.state);
for (const { id, format } of job.images) {
  const name = id.slice(0, 12) + '.' + format;
  await writeFile(name, Buffer.from(await (await ask('/api/images/' + id)).arrayBuffer()));
  console.log(name);
}
`,
};
let dialog = null, body = {}, code, ways;

function show(way) {
  for (const button of ways.children)
    button.setAttribute('aria-pressed', String(button.textContent === way));
  setText(code, WAYS[way](body));
}

function make() {
  code = h('code', { id: 'code-text' });
  ways = h('div', { class: 'tools', role: 'group', 'aria-label': t('language_of_program') }, ...Object.keys(WAYS).map((way) =>
    h('button', { onclick: () => show(way) }, way)));
  dialog = h('dialog', { id: 'code', class: 'sheet code', 'aria-labelledby': 'code-title', onclose: () =>
    hostMessages(document.querySelector('dialog[open]') ?? document.body) },
  h('div', { class: 'sheet-top' }, h('h2', { id: 'code-title' }, t('as_a_program')),
    h('button', { class: 'round', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
  h('p', { class: 'now' }, t('same_bytes')), ways,
  h('pre', { tabindex: 0, role: 'region', 'aria-labelledby': 'code-title' }, code),
  h('div', { class: 'tools' }, h('button', { class: 'paint', onclick: () => copyText(code.textContent).then(() =>
    toast(t('copied', { what: t('the_program') })), complain) }, icon('copy'), t('copy'))));
  document.body.append(dialog);
}

export function open({ job, image }) {
  if (!dialog)
    make();
  body = painter.exactly({ ...paramsOf({ job, image }), seed: image.seed, subseed: image.subseed });
  show('curl');
  dialog.showModal();
  hostMessages(dialog);
}
