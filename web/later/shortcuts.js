/* shortcuts.js: what the keyboard does, in a dialog: "?". */
import { h, hostMessages, icon } from '../dom.js';
import { t } from '../text.js';

const KEYS = [
  [t('keys_everywhere'), [['/', t('key_prompt')], ['?', t('key_help')]]],
  [t('keys_prompt'), [[t('keys_ctrl_enter'), t('paint')], [t('keys_ctrl_arrows'), t('key_weigh')], [t('keys_alt_arrows'), t('key_recall')]]],
  [t('keys_picture'), [['← →', t('key_others')], [t('keys_delete'), t('delete')], ['Esc', t('close')]]],
  [t('keys_editor'), [['B L W X M', t('key_tools')], ['E I', t('key_erase_invert')], ['[ ]', t('key_brush')], ['+ − 0', t('key_zoom')],
    [t('keys_undo'), t('key_undo')]]],
];

const dialog = h('dialog', { id: 'shortcuts', class: 'sheet shortcuts', 'aria-labelledby': 'shortcuts-title', onclose: () => hostMessages() },
  h('div', { class: 'sheet-top' }, h('h2', { id: 'shortcuts-title' }, t('keyboard')),
    h('button', { class: 'round', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
  ...KEYS.map(([title, keys]) => h('div', {}, h('h3', {}, title), h('dl', {}, ...keys.map(([key, what]) =>
    h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)))))));
document.body.append(dialog);

export function open() {
  if (!dialog.open)
    dialog.showModal();
  hostMessages(dialog);
}
