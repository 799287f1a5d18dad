// The page of the API: what /openapi.json says, and a form to try each call. Nothing is fetched from elsewhere.

const TEXT_MOST = 20000; // of an answer that is shown

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function typeOf(schema) {
  const type = [schema.type ?? 'any'].flat().join(' | ');
  return schema.enum ? schema.enum.map((word) => JSON.stringify(word)).join(' | ') : type;
}

function fieldTable(schema) {
  const table = element('table', {}, element('tr', {}, element('th', {}, 'field'), element('th', {}, 'type'),
    element('th', {}, 'default'), element('th', {}, 'meaning')));
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const required = schema.required?.includes(name) ? ' (required)' : '';
    table.append(element('tr', {}, element('td', {}, element('code', {}, name), required), element('td', {}, typeOf(field)),
      element('td', {}, field.default === undefined ? '' : JSON.stringify(field.default)),
      element('td', {}, field.description ?? '')));
  }
  return table;
}

function exampleOf(schema) {
  const names = schema.required ?? (schema.properties?.prompt ? ['prompt'] : []);
  const value = (field) => field.default ?? (field.type === 'integer' || field.type === 'number' ? 1 : 'a red circle');
  return Object.fromEntries(names.map((name) => [name, value(schema.properties?.[name] ?? {})]));
}

// Base64 of pictures is shown as pictures, and cut in the text.
function findPictures(value, found) {
  if (typeof value === 'string') {
    const kind = { iVBORw0KGgo: 'png', '/9j/': 'jpeg', UklGR: 'webp' };
    const start = Object.keys(kind).find((prefix) => value.startsWith(prefix));
    if (start && value.length > 100) {
      found.push(`data:image/${kind[start]};base64,${value}`);
      return `${value.slice(0, 24)}... (${value.length} characters)`;
    }
    return value;
  }
  if (Array.isArray(value)) return value.map((item) => findPictures(item, found));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, findPictures(item, found)]));
  }
  return value;
}

async function showAnswer(response, output) {
  const type = response.headers.get('Content-Type') ?? '';
  const head = `${response.status} ${response.statusText}\n${type}\n\n`;
  if (type.startsWith('image/')) {
    output.replaceChildren(element('pre', {}, head), element('img', { src: URL.createObjectURL(await response.blob()), alt: '' }));
    return;
  }
  let text = await response.text();
  const pictures = [];
  try {
    text = JSON.stringify(findPictures(JSON.parse(text), pictures), null, 2);
  } catch {
    // Not JSON: shown as it is.
  }
  output.replaceChildren(element('pre', { tabindex: '0' }, head + text.slice(0, TEXT_MOST)),
    ...pictures.map((src) => element('img', { src, alt: 'a picture of the answer' })));
}

function requestOf(method, path, form) {
  let url = path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll('[data-in]')) {
    if (input.dataset.in === 'path') url = url.replace(`{${input.name}}`, input.value.split('/').map(encodeURIComponent).join('/'));
    else if (input.value) query.set(input.name, input.value);
  }
  const key = document.getElementById('key').value;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const body = form.querySelector('textarea')?.value;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  return [url.slice(1) + (query.size ? `?${query}` : ''), { method: method.toUpperCase(), headers, body }];
}

function fillForm(form, method, path, operation) {
  if (operation.description) form.append(element('p', {}, operation.description));
  for (const parameter of operation.parameters ?? []) {
    const id = `${operation.operationId}-${parameter.name}`;
    form.append(element('label', { for: id }, `${parameter.name} (${parameter.in})`),
      element('input', { id, name: parameter.name, 'data-in': parameter.in }));
  }
  const schema = operation.requestBody?.content?.['application/json']?.schema;
  if (schema) {
    const id = `${operation.operationId}-body`;
    const area = element('textarea', { id, spellcheck: 'false' });
    area.value = JSON.stringify(exampleOf(schema), null, 2);
    form.append(element('label', { for: id }, 'body'), area, fieldTable(schema));
  }
  const output = element('div', { 'aria-live': 'polite' });
  form.append(element('button', {}, 'Send'), output);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    output.replaceChildren(element('p', {}, 'Waiting ...'));
    try {
      await showAnswer(await fetch(...requestOf(method, path, form)), output);
    } catch (error) {
      output.replaceChildren(element('p', { class: 'error' }, String(error)));
    }
  });
}

function operationItem(method, path, operation) {
  const form = element('form');
  const item = element('details', { class: 'operation', 'data-path': path },
    element('summary', {}, element('b', {}, method.toUpperCase()), path), form);
  item.addEventListener('toggle', () => {
    if (!form.hasChildNodes()) fillForm(form, method, path, operation);
  });
  return item;
}

function list(doc) {
  const sections = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags?.[0] ?? '';
      if (!sections.has(tag)) sections.set(tag, element('section', {}, element('h2', {}, tag)));
      sections.get(tag).append(operationItem(method, path, operation));
    }
  }
  document.getElementById('operations').replaceChildren(...sections.values());
}

document.getElementById('access').addEventListener('submit', (event) => event.preventDefault());
document.getElementById('find').addEventListener('input', (event) => {
  for (const item of document.querySelectorAll('.operation')) item.hidden = !item.dataset.path.includes(event.target.value);
});
try {
  list(await (await fetch('openapi.json')).json());
} catch (error) {
  document.getElementById('fault').textContent = `The list could not be read: ${error}`;
}
