/* sizes.js: how many bytes, as people say it. */
import { fixed, t } from '../text.js';
export function sizeText(bytes) {
  return bytes >= 1e9 ? t('gigabytes', { n: fixed(bytes / 1e9, 1) })
    : t('megabytes', { n: fixed(bytes / 1e6, bytes < 1e7 ? 1 : 0) });
}
