/* query.js: a search that asks for settings, too: castle steps:20 sampler:"Euler a" size:512x512. Names are
 * those of the fields, or what the page calls them. */
import { fieldName } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';

const plain = (text) => text.toLowerCase().replaceAll(' ', '_');

function fieldOf(word) {
  const wanted = plain(word);
  return Object.keys(store.fields).find((name) => store.fields[name]['x-about'] === 'picture' &&
    (name === wanted || plain(fieldName(name)) === wanted));
}

/* As JSON, for the kind of the field; names as the server spells them. */
function jsonOf(name, value) {
  const { type, enum: words = [], examples = [] } = store.fields[name];
  if (type === 'boolean')
    return String(!/^(0|no|off|false)$/i.test(value));
  if (/^-?\d+(\.\d+)?$/.test(value) && type !== 'string')
    return value;
  const known = [...words, ...examples, ...store.info.samplers.map((each) => each.name)].filter((each) => typeof each === 'string');
  return JSON.stringify(known.find((each) => each.toLowerCase() === value.toLowerCase()) ?? value);
}

/* {words, params}: what prompts are to have, and the fields as a JSON object, if there are any. */
export function parse(text) {
  const params = new Map();
  const words = text.replace(/(^|\s)([\p{L}_]+):(?:"([^"]*)"|(\S+))/gu, (all, before, word, quoted, single) => {
    const value = quoted ?? single, size = value.match(/^(\d+)[x×](\d+)$/), name = fieldOf(word);
    if ([plain(t('size')), 'size'].includes(plain(word)) && size) {
      params.set('width', size[1]);
      params.set('height', size[2]);
    } else if (name) {
      params.set(name, jsonOf(name, value));
    } else {
      return all;
    }
    return before;
  });
  return { words: words.trim().replace(/\s+/g, ' '), ...(params.size && { params: `{${[...params].map(([name, value]) => `"${name}":${value}`).join()}}` }) };
}
