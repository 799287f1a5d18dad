/* tags.js: a picture's tags: chips to take away, a field to add. */
import { get } from '../api.js';
import { $, announce, complain, h, icon } from '../dom.js';
import { store } from '../store.js';
import { t } from '../text.js';

async function suggest() {
  const { tags } = await get('api/tags');
  $('known-tags').replaceChildren(...tags.map(({ tag }) => h('option', { value: tag })));
}

/* The elements, for the picture that is looked at. */
export function editor(picture) {
  const { image } = picture;
  const chips = h('div', { class: 'extras', role: 'group', 'aria-label': t('tags') });
  const set = async (tags, change, words) => {
    try {
      await store.mark([image.id], change);
      image.tags = tags;
      show();
      announce(words);
    } catch (error) {
      complain(error);
    }
  };
  const show = () => chips.replaceChildren(...(image.tags ?? []).map((tag) => h('button', { class: 'chip',
    'aria-label': t('take_tag_away', { tag }), onclick: () =>
      set(image.tags.filter((each) => each !== tag), { remove: [tag] }, t('no_longer', { tag })).then(() => input.focus()) },
  `${tag} ×`)));
  const input = h('input', { type: 'text', class: 'tag-field', list: 'known-tags', maxlength: 100, placeholder: t('add_a_tag'),
    'aria-label': t('add_a_tag'), autocomplete: 'off', onfocus: () => suggest().catch(() => {}), onkeydown: (event) => {
      event.stopPropagation(); /* arrows and Delete are the field's */
      if (event.key !== 'Enter')
        return;
      const added = input.value.split(',').map((each) => each.trim()).filter(Boolean);
      input.value = '';
      if (added.length)
        set([...new Set([...image.tags ?? [], ...added])], { add: added }, t('tagged', { tags: added.join(', ') }));
    } });
  show();
  return [icon('tag'), chips, input, h('datalist', { id: 'known-tags' })];
}
