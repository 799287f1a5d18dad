/* drop.js: asks what to do with a picture that came from outside and knows how it was made. */
import { $, h, setText } from '../dom.js';
import { t } from '../text.js';

const dialog = h('dialog', { id: 'drop-dialog', class: 'sheet', 'aria-labelledby': 'drop-title' },
  h('h2', { id: 'drop-title' }, t('knows_how')),
  h('div', { class: 'drop-what' }, h('img', { id: 'drop-picture', alt: '' }), h('p', { id: 'drop-prompt', class: 'label-prompt' })),
  h('div', { class: 'tools' }, h('button', { id: 'drop-settings', class: 'paint' }, t('use_its_settings')),
    h('button', { id: 'drop-over' }, t('paint_over_it')), h('button', { id: 'drop-cancel', class: 'quiet' }, t('cancel'))));
document.body.append(dialog);

/* `text` is what it knows; `use` and `over` are what can be done. */
export function ask(blob, text, { use, over }) {
  const url = URL.createObjectURL(blob);
  $('drop-picture').src = url;
  setText($('drop-prompt'), text.split('\n')[0]);
  const done = (act) => () => {
    dialog.close();
    act?.();
  };
  $('drop-settings').onclick = done(use);
  $('drop-over').onclick = done(over);
  $('drop-cancel').onclick = done();
  dialog.onclose = () => URL.revokeObjectURL(url);
  dialog.showModal();
}
