/* references.js: further pictures for a model that edits: it is shown all of them, in their order, with the
 * words that say what shall become of them. */
import { announce, h, icon, toast } from '../dom.js';
import { prepare, readAsDataUrl } from '../source.js';
import { t } from '../text.js';

export class References {
  #pictures = []; /* {blob, url} */
  #most = 0;
  #list = h('ol', { class: 'references' });
  #add = h('button', { onclick: () => this.#file.click() }, icon('plus'), t('show_it_another'));
  #file = h('input', { type: 'file', class: 'hidden', multiple: true, accept: 'image/*', tabindex: -1,
    'aria-label': t('show_it_another'), onchange: () => this.#take([...this.#file.files]) });

  constructor(host) {
    host.append(this.#list, this.#add, this.#file);
    this.host = host;
  }

  /* How many there may be. */
  set most(count) {
    this.#most = count;
    this.#show();
  }

  clear() {
    for (const { url } of this.#pictures)
      URL.revokeObjectURL(url);
    this.#pictures = [];
    this.#show();
  }

  /* What a request's `images` are; none of those that the model would not take. */
  async dataUrls() {
    return Promise.all(this.#pictures.slice(0, this.#most).map(({ blob }) => readAsDataUrl(blob)));
  }

  async #take(files) {
    this.#file.value = '';
    for (const file of files.slice(0, this.#most - this.#pictures.length)) {
      try {
        const { blob } = await prepare(file);
        this.#pictures.push({ blob, url: URL.createObjectURL(blob) });
      } catch {
        toast(t('unreadable_picture'), { bad: true });
      }
    }
    this.#show();
    announce(t('n_pictures_shown_to_it', { n: this.#pictures.length + 1 }));
  }

  #show() {
    this.host.hidden = this.#most < 1;
    this.#add.hidden = this.#pictures.length >= this.#most;
    this.#list.replaceChildren(...this.#pictures.slice(0, this.#most).map((picture, i) => h('li', {},
      h('img', { src: picture.url, alt: t('picture_n', { n: i + 2 }) }),
      h('button', { class: 'round', title: t('remove'), 'aria-label': t('remove_what', { what: t('picture_n', { n: i + 2 }) }),
        onclick: () => {
          URL.revokeObjectURL(picture.url);
          this.#pictures = this.#pictures.filter((each) => each !== picture);
          this.#show();
          this.#add.focus();
        } }, icon('close')))));
  }
}
