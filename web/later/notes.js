/* notes.js: what a request said without any effect, as people say it. The server's notes of a job are
 * "field: why" each (docs/api.md); one that is not known here is shown as the server put it. */
import { fieldName, h, plainWords, setText } from '../dom.js';
import { store } from '../store.js';
import { fieldText, t } from '../text.js';

const WHY = [
  [/^no effect: (?<name>.+) is another server's/, (named) => t('note_elsewhere', named)],
  [/without a subseed_strength$/, () => t('note_no_variation')],
  [/without a picture to begin from$/, () => t('note_no_picture')],
  [/without a mask$/, () => t('note_no_mask')],
  [/without mask_only_area$/, () => t('note_no_area')],
  [/without a second pass/, () => t('note_no_second_pass')],
  [/without both sides of the seed's size$/, () => t('note_one_side')],
  [/without guidance_low$/, () => t('note_no_low')],
  [/without a refiner$/, () => t('note_no_refiner')],
  [/without guidance$/, () => t('note_no_guidance')],
  [/with this sampler$/, () => t('note_sampler')],
  [/with this scheduler$/, () => t('note_schedule')],
  [/on PNG$/, () => t('note_png')],
  [/^a guidance of 1 is none/, () => t('note_guidance_of_1')],
  [/^this model is not led away from anything$/, () => t('note_not_led_away')],
  [/^this model was distilled to do without/, () => t('note_distilled')],
  [/^this model is told its guidance.*, (?<n>[-\d.]+)$/, (named) => t('note_told', named)],
  [/on a model /, () => t('note_model')],
];

function reasonOf(why) {
  for (const [is, words] of WHY) {
    const found = why.match(is);
    if (found)
      return words({ ...found.groups });
  }
  return plainWords(why);
}

const nameOf = (field) => (document.querySelector(`label[for="${CSS.escape(field)}"]`) ? fieldName(field)
  : fieldText(field, store.fields[field] ?? {})[0]);

/* [[name of the field, why]] */
const notesOf = ({ notes }) => notes.map((note) => {
  const [field, ...why] = note.split(': ');
  return [nameOf(field), reasonOf(why.join(': '))];
});

/* The line beside a picture: the fields; all of it to whoever asks. */
export function fill(line, job) {
  const notes = notesOf(job);
  setText(line, t('without_effect_are', { fields: notes.map(([name]) => name).join(', ') }));
  line.title = notes.map(([name, why]) => `${name}: ${why}`).join('\n');
}

/* What stands with all else about a picture. */
export const factsOf = (job) => [h('h3', {}, t('without_effect')),
  h('ul', {}, ...notesOf(job).map(([name, why]) => h('li', {}, h('strong', {}, name), ` · ${why}`)))];
