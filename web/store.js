/* store.js: what the server knows, as far as this page has heard of it.
 *
 * The server is the truth: this is a copy of its jobs that the event stream keeps fresh, and that
 * is compared with the list again whenever the connection was lost. Events it sends:
 *
 *     ready       the server's info, models and fields are known (again)
 *     models      the models are others
 *     change      jobs came, went or changed; at most one a task
 *     progress    detail: a job that made a step
 *     finished    detail: a job that was seen at work and is final now
 *     trouble     detail: an error that nobody waits for
 *     connection  state, retryAt changed */
import { ApiError, forgetImage, get, hasKey, openEvents, post } from './api.js';
import { forget } from './early.js';
import { t } from './text.js';

const PAGE = 48, AT_ONCE = 1000; /* jobs of a page; ids of a request */

export const isActive = (job) => job.state === 'queued' || job.state === 'running';
/* The newest comes first. */
export const isBefore = (a, b) => a.created_at > b.created_at || (a.created_at === b.created_at && a.id > b.id);
const newestFirst = (a, b) => (isBefore(a, b) ? -1 : 1);

/* Where a job stands, or would, in a list in that order; `of` says which job an entry is of. */
export function placeIn(list, job, of = (each) => each) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(of(list[middle]), job))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
/* A job, or any of its pictures. */
const isMarked = (job, is) => is(job) || job.images.some(is);
const place = (job) => job.progress.image * 10000 + job.progress.step;

class Store extends EventTarget {
  jobs = new Map();
  mine = new Set(); /* ids of jobs that this page asked for */
  info = null;
  models = [];
  fields = {}; /* of a request: name -> JSON Schema, in the order of the server */
  state = 'connecting'; /* connecting, online, offline */
  retryAt = 0;
  problem = ''; /* why it is offline */
  query = '';
  filter = {}; /* model, since, until, favourite, tag, params: as GET /api/jobs has them; {}: none */
  paused = false; /* the queue is */
  loaded = false; /* the first page of history is there */
  held = false; /* a row of the queue is being dragged */
  changed = null; /* id -> job of those that are others on the wall than at the change before; null: all of it */

  #found = null; /* ids that the search gave, while there is one */
  #next = null;  /* cursors of older pages */
  #foundNext = null;
  #hidden = new Set(); /* ids of jobs and of pictures: deleted, unless that is taken back */
  #active = new Set(); /* ids of jobs that wait or run */
  #history = null; /* what history() says, until that changes */
  #others = null; /* what `changed` will be */
  #telling = false;
  #wake = null;
  #close = null;
  #queueTimer = null;
  #loading = null;
  #hurry = false;

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /* `wall`: what hangs may be another than before; of one job, if it is said which. */
  #touch(wall = true, job = null) {
    if (wall && job && this.#history) {
      this.#hang(job);
      this.#others?.set(job.id, job);
    } else if (wall) {
      this.#history = this.#others = null;
    }
    if (this.#telling)
      return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      [this.changed, this.#others] = [this.#others, new Map()];
      this.#emit('change');
    });
  }

  /* In its place on the wall, or off it: a wall of any length costs the same. */
  #hang(job) {
    const at = placeIn(this.#history, job), known = this.jobs.get(job.id);
    const hung = known && this.#hangs(known) ? [this.#withoutHidden(known)] : [];
    this.#history.splice(at, this.#history[at]?.id === job.id ? 1 : 0, ...hung);
  }

  /* Whoever shows something shows it anew. */
  tellAgain() {
    this.#touch(false);
  }

  /* ---- reading ---- */

  /* Running first, then by position. */
  active() {
    return [...this.#active].map((id) => this.jobs.get(id)).sort((a, b) =>
      (a.state === 'queued') - (b.state === 'queued') || a.position - b.position ||
      newestFirst(b, a));
  }

  /* What hangs on the wall: pictures, and jobs that failed. One list until something is another. */
  history() {
    this.#history ??= this.#hung();
    return this.#history;
  }

  #hung() {
    return [...this.jobs.values()].filter((job) => this.#hangs(job)).map((job) => this.#withoutHidden(job)).sort(newestFirst);
  }

  #hangs(job) {
    return !this.#hidden.has(job.id) && (job.images.length > 0 || job.state === 'failed') &&
      (!this.#found || ((this.#found.has(job.id) || job.live) && this.#meets(job)));
  }

  /* Whether a job is one that is looked for: what has come or changed since the server was asked. */
  #meets(job) {
    const { model, since, until, favourite, tag, params } = this.filter;
    return (!params || this.#found.has(job.id) || Object.entries(JSON.parse(params)).every(([name, value]) => job.params[name] === value)) &&
      (this.#found.has(job.id) || job.params.prompt.toLowerCase().includes(this.query.toLowerCase())) &&
      (!model || job.params.model === model) && (!since || job.created_at >= since) &&
      (!until || job.created_at < until) && (!favourite || isMarked(job, (each) => each.favourite)) &&
      (!tag || isMarked(job, (each) => each.tags?.includes(tag)));
  }

  get looking() {
    return Boolean(this.#found);
  }

  #withoutHidden(job) {
    return this.#hidden.size && job.images.some(({ id }) => this.#hidden.has(id))
      ? { ...job, images: job.images.filter(({ id }) => !this.#hidden.has(id)) } : job;
  }

  get hasMore() {
    return (this.#found ? this.#foundNext : this.#next) !== null;
  }

  /* ---- the connection ---- */

  /* Never returns. `askKey(message)` resolves when a key was set. */
  async run(askKey) {
    setInterval(() => this.#positions(), 15000); /* other people's jobs move them too */
    for (let failures = 0; ;) {
      try {
        await this.#connect(() => { failures = 0; });
        this.problem = t('the_server_ended_the_connection');
        failures++;
      } catch (error) {
        if (error.status === 401) {
          await askKey(hasKey() ? error.message : '');
          continue;
        }
        this.problem = error.name === 'ApiError' ? error.message : t('the_connection_was_lost');
        failures++;
      } finally {
        forget();
      }
      if (this.#hurry) {
        this.#hurry = false;
        continue;
      }
      const seconds = Math.min(30, 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
      this.#connection('offline', Date.now() + seconds * 1000);
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, seconds * 1000);
      });
    }
  }

  #connection(state, retryAt = 0) {
    this.state = state;
    this.retryAt = retryAt;
    this.#emit('connection');
  }

  /* Stops waiting for the next attempt. */
  retryNow() {
    this.#wake?.();
  }

  /* Ends the stream, so that the next one begins with what the key may see. */
  reconnect() {
    this.jobs.clear();
    this.#active.clear();
    this.loaded = false;
    this.#hurry = true;
    this.#close?.();
    this.#touch();
  }

  async #connect(connected) {
    this.info = await get('api/info');
    if (this.info.keys_required && !hasKey())
      throw new ApiError(401, 'denied', '');
    this.models = (await get('api/models')).models;
    this.fields = (await get('api/schema')).properties;
    const stream = await openEvents('api/events');
    this.#close = stream.close;
    try {
      this.#emit('ready');
      await this.#refresh();
      this.#queue(await get('api/queue'));
      this.#connection('online');
      connected();
      for await (const { event, data } of stream.events)
        this.take(event, data);
    } finally {
      stream.close();
    }
  }

  /* A file has come: it may be one. */
  async refreshModels() {
    this.models = (await get('api/models')).models;
    this.#emit('models');
  }

  /* What the server tells. */
  take(event, data) {
    if (event === 'job')
      this.#upsert({ ...data, live: true });
    else if (event === 'progress')
      this.#progress(data);
    else if (event === 'image')
      this.#image(data);
    else if (event === 'deleted')
      this.#drop(data.id);
    else if (event === 'queue')
      this.#queue(data);
  }

  #queue({ paused }) {
    this.paused = paused;
    this.#positions();
    this.#touch(false);
  }

  #progress({ id, preview, ...progress }) {
    const job = this.jobs.get(id);
    if (!job || !isActive(job))
      return;
    if (preview || progress.image !== job.progress.image)
      job.preview = preview;
    job.progress = progress;
    job.seen = performance.now();
    this.#emit('progress', job);
  }

  #image({ id, image }) {
    const job = this.jobs.get(id);
    if (!job || job.images.some((known) => known.id === image.id))
      return;
    job.images = [...job.images, image].sort((a, b) => a.index - b.index);
    this.#touch(true, job);
  }

  /* `asked`: when the answer that holds this copy was asked for. What an event said since then is
   * newer. */
  #upsert(job, asked = Infinity) {
    const known = this.jobs.get(job.id);
    if (known && known.seen > asked)
      return;
    if (known && job.state === 'running' && known.state === 'running' &&
      known.attempts === job.attempts && place(known) > place(job))
      job.progress = known.progress;
    job.live ||= known?.live;
    job.preview = isActive(job) ? known?.preview : null;
    job.stopping = isActive(job) ? known?.stopping : null;
    job.seen = performance.now();
    this.jobs.set(job.id, job);
    this.#active[isActive(job) ? 'add' : 'delete'](job.id);
    this.#touch(!isActive(job) || job.images.length > 0 || (known?.images.length ?? 0) > 0, job);
    if (known && isActive(known) && !isActive(job))
      this.#emit('finished', job);
    if (known && known.state !== job.state)
      this.#positions();
  }

  #drop(id) {
    const job = this.jobs.get(id);
    for (const image of job?.images ?? [])
      forgetImage(image.id);
    this.jobs.delete(id);
    this.#active.delete(id);
    this.#touch(Boolean(job), job);
  }

  /* A job that leaves the queue moves all behind it, of which no event tells. */
  #positions() {
    if (!this.active().some((job) => job.state === 'queued'))
      return;
    this.#queueTimer ??= setTimeout(() => {
      this.#queueTimer = null;
      this.#readPositions().catch(() => {}); /* the next change asks again */
    }, 250);
  }

  async #readPositions() {
    const asked = performance.now();
    for (const job of (await get('api/jobs?state=queued&limit=200')).jobs)
      this.#upsert(job, asked);
  }

  /* ---- history ---- */

  /* Compares with the newest page of the server's list. */
  async #refresh() {
    const asked = performance.now();
    const { jobs, next } = await get(`api/jobs?limit=${PAGE}`);
    const listed = new Set(jobs.map((job) => job.id));
    const overlaps = jobs.some((job) => this.jobs.has(job.id));
    const oldest = next === null ? -Infinity : jobs.at(-1).created_at;
    for (const job of [...this.jobs.values()]) {
      if (!listed.has(job.id) && isActive(job))
        await this.#reread(job.id);
      else if (!listed.has(job.id) && (job.created_at > oldest || !overlaps))
        this.#drop(job.id);
    }
    for (const job of jobs)
      this.#upsert(job, asked);
    if (!overlaps || !this.loaded)
      this.#next = next;
    this.loaded = true;
    this.#touch(false);
  }

  async #reread(id) {
    const asked = performance.now();
    try {
      this.#upsert(await get(`api/jobs/${id}`), asked);
    } catch (error) {
      if (error.status !== 404)
        throw error;
      this.#drop(id);
    }
  }

  /* The next older page; one at a time. */
  more(limit = PAGE) {
    this.#loading ??= this.#page(limit).finally(() => { this.#loading = null; });
    return this.#loading;
  }

  async #page(limit) {
    const query = this.#asked, asked = performance.now();
    const before = this.#found ? this.#foundNext : this.#next;
    if (before === null)
      return;
    const path = `api/jobs?limit=${limit}&before=${before}${query}`;
    const { jobs, next } = await get(path);
    if (query !== this.#asked)
      return;
    this.#add(jobs, asked);
    if (this.#found)
      this.#foundNext = next;
    else
      this.#next = next;
    this.#touch(false);
  }

  #add(jobs, asked) {
    for (const job of jobs) {
      this.#found?.add(job.id);
      this.#upsert(job, asked);
    }
  }

  /* What the server is asked for, behind the other parts of the query. */
  get #asked() {
    const all = Object.entries({ q: this.query, ...this.filter }).filter(([, value]) => value);
    return all.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join('');
  }

  async search(query, filter = this.filter) {
    Object.assign(this, { query, filter });
    const wanted = this.#asked, asked = performance.now();
    if (!wanted) {
      this.#found = null;
      this.#touch();
      return;
    }
    const { jobs, next } = await get(`api/jobs?limit=${PAGE}${wanted}`);
    if (wanted !== this.#asked)
      return;
    this.#found = new Set();
    this.#foundNext = next;
    this.#add(jobs, asked);
    this.#touch();
  }

  /* ---- asking for something ---- */

  /* The fields that a picture's text speaks of. */
  async paramsOf(text) {
    return (await post('api/infotext', { text })).params;
  }

  async submit(request) {
    return this.#accepted(await post('api/jobs', request));
  }

  async retry(id) {
    return this.#accepted(await post(`api/jobs/${id}/retry`));
  }

  #accepted(job) {
    this.mine.add(job.id);
    const known = this.jobs.get(job.id); /* from an event: faster, and newer, than this answer */
    if (!known)
      this.#upsert({ ...job, live: true });
    else if (!isActive(known))
      this.#emit('finished', known);
    return known ?? job;
  }

  /* Of the whole queue: takes the right to administer, as moving does. */
  async pause(paused) {
    this.#queue(await post(`api/queue/${paused ? 'pause' : 'resume'}`));
  }

  /* A waiting job before another one, or before all. */
  async move(id, before) {
    await post(`api/jobs/${id}/move`, before ? { before } : {});
    await this.#readPositions();
  }

  cancel(id) {
    return this.#stop(id, 'cancel');
  }

  /* Ends it with what is painted so far. */
  interrupt(id) {
    return this.#stop(id, 'interrupt');
  }

  async #stop(id, how) {
    const asked = performance.now();
    const job = this.jobs.get(id);
    job.stopping = how;
    this.#touch(false);
    try {
      this.#upsert(await post(`api/jobs/${id}/${how}`), asked);
    } catch (error) {
      job.stopping = null;
      await this.#reread(id);
      if (error.status !== 409) /* final already, which is what was wanted */
        throw error;
    }
  }

  /* Takes jobs and pictures off the wall; they are deleted when nobody takes that back. */
  hide(...ids) {
    ids.forEach((id) => this.#hidden.add(id));
    this.#jobsOf(ids).forEach((job) => this.#touch(true, job));
  }

  unhide(...ids) {
    ids.forEach((id) => this.#hidden.delete(id));
    this.#jobsOf(ids).forEach((job) => this.#touch(true, job));
  }

  /* Those of these ids, and those of whose pictures some have them. */
  #jobsOf(ids) {
    const wanted = new Set(ids), found = ids.map((id) => this.jobs.get(id)).filter(Boolean);
    return found.length === wanted.size ? found
      : [...this.jobs.values()].filter(({ id, images }) => wanted.has(id) || images.some((image) => wanted.has(image.id)));
  }

  /* Jobs and single pictures; what the server no longer has is gone, too. */
  async remove(jobs, images) {
    const gone = new Set([...jobs, ...images]);
    try {
      for (let at = 0; at < Math.max(jobs.length, images.length); at += AT_ONCE) {
        const { failed } = await post('api/delete', { jobs: jobs.slice(at, at + AT_ONCE),
          images: images.slice(at, at + AT_ONCE) });
        for (const { id, code, message } of failed)
          if (code !== 'not_found') {
            gone.delete(id);
            this.#emit('trouble', new Error(message));
          }
      }
      for (const id of jobs.filter((each) => gone.has(each)))
        this.#drop(id);
      for (const job of images.length ? this.#jobsOf(images) : []) {
        job.images = job.images.filter(({ id }) => !gone.has(id));
        this.#touch(true, job);
      }
      images.filter((id) => gone.has(id)).forEach(forgetImage);
    } finally {
      this.unhide(...jobs, ...images);
    }
  }

  /* Favourites and tags of pictures: {favourite, add, remove}. */
  async mark(images, change) {
    for (let at = 0; at < images.length; at += AT_ONCE)
      await post('api/marks', { images: images.slice(at, at + AT_ONCE), ...change });
  }

  /* The page goes away: what was deleted shall not come back. */
  removeHidden() {
    const all = [...this.#hidden];
    if (all.length)
      post('api/delete', { jobs: all.filter((id) => this.jobs.has(id)).slice(0, AT_ONCE),
        images: all.filter((id) => !this.jobs.has(id)).slice(0, AT_ONCE) }, true).catch(() => {});
  }
}

export const store = new Store();
