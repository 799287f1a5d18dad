/* torch_file.c: In the zip archive NAME/data.pkl is the pickle and NAME/data/KEY a storage, stored
 * as it is. A legacy file is five pickles (a magic number, a version, facts of the machine, what
 * was saved, a list of the storages' keys), then for each key the number of elements and the
 * elements. (torch/serialization.py of PyTorch 1.13.) */
#include "engine/io/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/pickle.h"
#include "engine/io/zip.h"

#define PICKLE_MOST ((size_t)64 << 20) /* bytes; one of 2,000 tensors has 0.5 MB */
#define DEPTH_MOST 4                   /* dicts in dicts of the state dict */
#define NAME_ROOM 256                  /* a longer name is left out: no model has it */
#define TENSORS_MOST 100000            /* SDXL has 2,600 */
#define SMALL 65536 /* bytes that a view spans which is copied though the file is not mapped */

/* Where a storage lies. */
struct place {
    uint64_t at, bytes;
};

struct torch_file {
    struct file_bytes bytes; /* borrowed */
    struct pickle *pickle;
    struct place *places; /* of the pickle's storages */
    struct raw_tensor *tensors;
    size_t count, room;
    void **copies; /* of views that do not lie in one piece */
    size_t copy_count;
    uint64_t copied; /* bytes of them */
    bool *entered;   /* a value of the pickle: its dict was looked through */
};

/* ---- tensors ---- */

static bool is_contiguous(const struct pickle_tensor *t)
{
    uint64_t step = 1;
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] == 0) /* no element: nothing to gather */
            return true;
    for (int i = t->ndim; i-- > 0;) {
        if (t->shape[i] != 1 && t->strides[i] != step)
            return false;
        step *= t->shape[i];
    }
    return true;
}

/* Elements in row-major order out of the storage. */
static void gather(const struct pickle_tensor *t, const unsigned char *from, unsigned char *to)
{
    uint64_t at[RAW_TENSOR_DIMS] = {0}, offset = 0;
    for (;;) {
        memcpy(to, from + offset * t->element, t->element);
        to += t->element;
        int i = t->ndim - 1;
        for (; i >= 0 && ++at[i] == t->shape[i]; i--) {
            offset -= (at[i] - 1) * t->strides[i];
            at[i] = 0;
        }
        if (i < 0)
            return;
        offset += t->strides[i];
    }
}

/* A view with strides of its own becomes a tensor by itself. A stride of 0 repeats elements: what
 * all copies of a file take is held to what the file has, so that a small file stays one. */
static bool copy_view(struct torch_file *tf, const struct pickle_tensor *t, struct raw_tensor *out,
                      struct err *err)
{
    uint64_t span = 1, at = out->offset;
    char shape[64];
    for (int i = 0; i < t->ndim; i++)
        span += (t->shape[i] - 1) * t->strides[i];
    span *= t->element;
    if ((tf->copied += out->bytes) > tf->bytes.size)
        return err_set(err, ERR_TOO_LARGE,
                       "a tensor of %s in strides: the file's tensors are larger than the file",
                       raw_tensor_shape(shape, sizeof shape, out->ndim, out->shape));
    out->data = NULL;
    out->fd = -1;
    if (!tf->bytes.data && span > SMALL)
        return true; /* of the header alone nobody needs it */
    unsigned char *copy = malloc(out->bytes + 1), *own = NULL;
    const unsigned char *from = tf->bytes.data ? tf->bytes.data + at : (own = malloc(span));
    bool ok = (copy && from) || err_set(err, ERR_TOO_LARGE, "no memory for %zu bytes of weights",
                                        out->bytes);
    if (ok && own)
        ok = file_bytes_read(&tf->bytes, at, own, span, err);
    if (ok) {
        gather(t, from, copy);
        tf->copies[tf->copy_count++] = copy;
        out->data = copy;
    } else {
        free(copy);
    }
    free(own);
    return ok;
}

static bool add_tensor(struct torch_file *tf, const struct pickle_tensor *t, const char *name,
                       struct err *err)
{
    char shown[96];
    if (tf->count == tf->room) {
        size_t room = tf->room ? 2 * tf->room : 1024;
        struct raw_tensor *more = realloc(tf->tensors, room * sizeof *more);
        if (more)
            tf->tensors = more;
        void **copies = more ? realloc(tf->copies, room * sizeof *copies) : NULL;
        if (copies)
            tf->copies = copies;
        if (!copies)
            return err_set(err, ERR_INTERNAL, "no memory for %zu tensors", room);
        tf->room = room;
    }
    if (tf->count >= TENSORS_MOST)
        return err_set(err, ERR_TOO_LARGE, "more than %d tensors", TENSORS_MOST);
    const struct place *p = &tf->places[t->storage];
    struct raw_tensor *out = &tf->tensors[tf->count];
    *out = (struct raw_tensor){.dtype = t->dtype, .ndim = t->ndim, .fd = tf->bytes.fd};
    size_t count = 1;
    for (int i = 0; i < t->ndim; i++)
        count *= out->shape[i] = (size_t)t->shape[i];
    out->bytes = count * t->element;
    out->offset = (size_t)(p->at + t->offset * t->element);
    out->data = tf->bytes.data ? tf->bytes.data + out->offset : NULL;
    if (!is_contiguous(t) && !copy_view(tf, t, out, err))
        return err_prefix(err, "%s", raw_tensor_show(shown, sizeof shown, name));
    if (!(out->name = strdup(name)))
        return err_set(err, ERR_INTERNAL, "no memory for tensor names");
    tf->count++;
    return true;
}

/* The tensors in a dict, and in those in it. */
static bool add_dict(struct torch_file *tf, const struct pickle_value *dict, char *name,
                     size_t used, int depth, struct err *err)
{
    bool *entered = &tf->entered[dict - pickle_at(tf->pickle, 0)];
    if (*entered || depth > DEPTH_MOST)
        return true;
    *entered = true;
    for (uint32_t i = 0; i + 1 < dict->count; i += 2) {
        const struct pickle_value *key = pickle_at(tf->pickle, dict->items[i]);
        const struct pickle_value *value = pickle_at(tf->pickle, dict->items[i + 1]);
        const struct pickle_tensor *t = pickle_tensor(tf->pickle, value);
        if (key->kind != PICKLE_STRING || strlen(key->string) != key->count ||
            used + key->count + 2 > NAME_ROOM || (!t && value->kind != PICKLE_DICT))
            continue;
        memcpy(name + used, key->string, key->count + 1);
        if (t && !add_tensor(tf, t, name, err))
            return false;
        strcpy(name + used + key->count, ".");
        if (!t && !add_dict(tf, value, name, used + key->count + 1, depth + 1, err))
            return false;
    }
    return true;
}

static const struct pickle_value *state_dict(const struct pickle *p)
{
    static const char *const keys[] = {"state_dict", "model", "params_ema", "params"};
    const struct pickle_value *root = pickle_root(p), *inner;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if ((inner = pickle_get(p, root, keys[i])) && inner->kind == PICKLE_DICT)
            return inner;
    return root;
}

static bool list_tensors(struct torch_file *tf, struct err *err)
{
    char name[NAME_ROOM] = "";
    const struct pickle_value *dict = state_dict(tf->pickle);
    if (dict->kind != PICKLE_DICT)
        return err_set(err, ERR_INVALID, "wanted a dict of tensors, found %s",
                       dict->kind == PICKLE_TENSOR ? "one tensor" : "something else");
    tf->entered = calloc(pickle_values(tf->pickle), sizeof *tf->entered);
    bool ok = tf->entered || err_set(err, ERR_INTERNAL, "no memory for a checkpoint");
    ok = ok && add_dict(tf, dict, name, 0, 1, err) &&
         raw_tensor_sort(tf->tensors, tf->count, err);
    free(tf->entered);
    tf->entered = NULL;
    return ok && (tf->count > 0 || err_set(err, ERR_INVALID, "a checkpoint with no tensor in it"));
}

/* ---- the zip archive ---- */

/* The pickle's entry, "NAME/data.pkl"; `length` is that of "NAME/". */
static const struct zip_entry *find_pickle(const struct zip *z, size_t *length)
{
    static const char ending[] = "/data.pkl";
    for (size_t i = 0; i < z->count; i++) {
        size_t n = strlen(z->entries[i].name), end = sizeof ending - 1;
        if (n > end && strcmp(z->entries[i].name + n - end, ending) == 0) {
            *length = n - end + 1;
            return &z->entries[i];
        }
    }
    return NULL;
}

static bool is_little(const struct torch_file *tf, const struct zip *z, const char *name,
                      size_t length, struct err *err)
{
    char text[NAME_ROOM], word[8] = "";
    if ((size_t)snprintf(text, sizeof text, "%.*sbyteorder", (int)length, name) >= sizeof text)
        return true;
    const struct zip_entry *e = zip_find(z, text);
    return !e || e->size >= sizeof word ||
           (file_bytes_read(&tf->bytes, e->at, word, e->size, err) &&
            (strcmp(word, "little") == 0 ||
             err_set(err, ERR_UNSUPPORTED, "its numbers are stored the other way round (%s-endian)",
                     strcmp(word, "big") == 0 ? "big" : "not little")));
}

static bool place_zipped(struct torch_file *tf, const struct zip *z, const char *name,
                         size_t length, struct err *err)
{
    size_t count = pickle_storages(tf->pickle);
    char text[NAME_ROOM], shown[64];
    if (!(tf->places = calloc(count + 1, sizeof *tf->places)))
        return err_set(err, ERR_INTERNAL, "no memory for %zu storages", count);
    for (size_t i = 0; i < count; i++) {
        const struct pickle_storage *s = pickle_storage(tf->pickle, i);
        int n = snprintf(text, sizeof text, "%.*sdata/%s", (int)length, name, s->key);
        const struct zip_entry *e =
            n > 0 && (size_t)n < sizeof text ? zip_find(z, text) : NULL;
        if (!e)
            return err_set(err, ERR_INVALID, "the storage %s is not in it",
                           raw_tensor_show(shown, sizeof shown, s->key));
        if (!zip_is_stored(e, err))
            return false;
        if (s->count * s->element > e->size)
            return err_set(err, ERR_INVALID,
                           "the storage %s has %llu bytes, wanted %llu elements of %u",
                           raw_tensor_show(shown, sizeof shown, s->key),
                           (unsigned long long)e->size, (unsigned long long)s->count, s->element);
        tf->places[i] = (struct place){e->at, e->size};
    }
    return true;
}

/* The bytes from `at` on; *own is what has to be freed. NULL with an error. */
static const void *bytes_at(const struct torch_file *tf, size_t at, size_t size, void **own,
                            struct err *err)
{
    *own = NULL;
    if (tf->bytes.data)
        return tf->bytes.data + at;
    if (!(*own = malloc(size + 1)))
        err_set(err, ERR_TOO_LARGE, "no memory for a pickle of %zu bytes", size);
    else if (file_bytes_read(&tf->bytes, at, *own, size, err))
        return *own;
    free(*own);
    *own = NULL;
    return NULL;
}

static bool read_zip(struct torch_file *tf, struct err *err)
{
    struct zip z;
    size_t length = 0, used;
    void *own = NULL;
    bool ok = zip_read(&z, &tf->bytes, err), more;
    const struct zip_entry *e = ok ? find_pickle(&z, &length) : NULL;
    if (ok && !e)
        ok = err_set(err, ERR_UNSUPPORTED,
                     "this is a zip archive, but none of PyTorch's: no data.pkl is in it");
    ok = ok && zip_is_stored(e, err) && is_little(tf, &z, e->name, length, err);
    if (ok && e->size > PICKLE_MOST)
        ok = err_set(err, ERR_TOO_LARGE, "a pickle of %llu bytes; %zu are read at most",
                     (unsigned long long)e->size, PICKLE_MOST);
    const void *data = ok ? bytes_at(tf, (size_t)e->at, (size_t)e->size, &own, err) : NULL;
    ok = data && (tf->pickle = pickle_read(data, (size_t)e->size, &used, &more, err)) &&
         place_zipped(tf, &z, e->name, length, err);
    free(own);
    zip_free(&z);
    return ok;
}

/* ---- the legacy file ---- */

/* The pickle at *at, which moves behind it. Of a file that is not mapped as much is read as turns
 * out to be needed. */
static struct pickle *read_pickle(struct torch_file *tf, size_t *at, struct err *err)
{
    size_t rest = tf->bytes.size - *at, room = tf->bytes.data ? PICKLE_MOST : 65536;
    for (;; room *= 4) {
        size_t size = rest < room ? rest : room, used;
        bool more = false;
        void *own;
        const void *data = bytes_at(tf, *at, size, &own, err);
        struct pickle *p = data ? pickle_read(data, size, &used, &more, err) : NULL;
        free(own);
        if (p)
            *at += used;
        if (p || !more || size == rest)
            return p;
        if (room >= PICKLE_MOST) {
            err_set(err, ERR_TOO_LARGE, "a pickle of more than %zu bytes", PICKLE_MOST);
            return NULL;
        }
    }
}

struct keyed {
    const char *key;
    size_t storage;
};

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->storage < y->storage ? -1 : x->storage > y->storage;
}

/* The first of the storages of this key. */
static size_t first_of(const struct keyed *list, size_t count, const char *key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(list[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* A row of elements for every key, each behind their number. */
static bool walk_storages(struct torch_file *tf, const struct pickle *keys,
                          const struct keyed *list, size_t count, size_t at, struct err *err)
{
    const struct pickle_value *root = pickle_root(keys);
    char shown[64];
    for (uint32_t i = 0; root->kind == PICKLE_LIST && i < root->count; i++) {
        const struct pickle_value *key = pickle_at(keys, root->items[i]);
        unsigned char head[8];
        uint64_t elements = 0;
        size_t k = key->kind == PICKLE_STRING ? first_of(list, count, key->string) : count;
        if (k == count || strcmp(list[k].key, key->string) != 0)
            return err_set(err, ERR_INVALID, "a storage that no tensor has");
        raw_tensor_show(shown, sizeof shown, key->string);
        if (!file_bytes_read(&tf->bytes, at, head, sizeof head, err))
            return err_prefix(err, "storage %s", shown);
        for (int b = 7; b >= 0; b--)
            elements = elements << 8 | head[b];
        uint64_t element = pickle_storage(tf->pickle, list[k].storage)->element;
        at += sizeof head;
        if (elements > (tf->bytes.size - at) / element)
            return err_set(err, ERR_INVALID,
                           "the storage %s ends behind the end of the file (cut short?)", shown);
        struct place place = {at, elements * element};
        for (; k < count && strcmp(list[k].key, key->string) == 0; k++)
            tf->places[list[k].storage] = place;
        at += (size_t)place.bytes;
    }
    for (size_t i = 0; i < count; i++) {
        const struct pickle_storage *s = pickle_storage(tf->pickle, i);
        if (!tf->places[i].at || s->count * s->element > tf->places[i].bytes)
            return err_set(err, ERR_INVALID, "the storage %s has %llu bytes, wanted %llu",
                           raw_tensor_show(shown, sizeof shown, s->key),
                           (unsigned long long)tf->places[i].bytes,
                           (unsigned long long)(s->count * s->element));
    }
    return true;
}

static bool place_legacy(struct torch_file *tf, const struct pickle *keys, size_t at,
                         struct err *err)
{
    size_t count = pickle_storages(tf->pickle);
    struct keyed *list = malloc((count + 1) * sizeof *list);
    tf->places = calloc(count + 1, sizeof *tf->places);
    bool ok = (list && tf->places) ||
              err_set(err, ERR_INTERNAL, "no memory for %zu storages", count);
    for (size_t i = 0; ok && i < count; i++)
        list[i] = (struct keyed){pickle_storage(tf->pickle, i)->key, i};
    if (ok)
        qsort(list, count, sizeof *list, by_key);
    ok = ok && walk_storages(tf, keys, list, count, at, err);
    free(list);
    return ok;
}

/* The first pickle is the number 0x1950a86a20f9469cfc6c. */
static bool is_legacy(const unsigned char *head, size_t have)
{
    static const unsigned char magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    for (size_t i = 0; i + sizeof magic <= have; i++)
        if (memcmp(head + i, magic, sizeof magic) == 0)
            return true;
    return false;
}

static bool read_legacy(struct torch_file *tf, struct err *err)
{
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        struct pickle *p = read_pickle(tf, &at, err);
        pickle_free(p);
        if (!p)
            return false;
    }
    if (!(tf->pickle = read_pickle(tf, &at, err)))
        return false;
    struct pickle *keys = read_pickle(tf, &at, err);
    bool ok = keys && place_legacy(tf, keys, at, err);
    pickle_free(keys);
    return ok;
}

/* ---- opening ---- */

/* A pickle that is none of PyTorch's is still read for what it would have done. */
static bool read_bare(struct torch_file *tf, struct err *err)
{
    size_t at = 0;
    struct pickle *p = read_pickle(tf, &at, err);
    pickle_free(p);
    return p ? err_set(err, ERR_UNSUPPORTED, "this is a pickle, but none that PyTorch wrote")
             : false;
}

struct torch_file *torch_file_open(const struct file_bytes *bytes, struct err *err)
{
    struct torch_file *tf = calloc(1, sizeof *tf);
    unsigned char head[32];
    size_t have = bytes->size < sizeof head ? bytes->size : sizeof head;
    if (!tf) {
        err_set(err, ERR_INTERNAL, "no memory for a checkpoint");
        return NULL;
    }
    tf->bytes = *bytes;
    bool ok = file_bytes_read(bytes, 0, head, have, err);
    if (ok && have >= 4 && memcmp(head, "PK", 2) == 0)
        ok = read_zip(tf, err);
    else if (ok)
        ok = is_legacy(head, have) ? read_legacy(tf, err) : read_bare(tf, err);
    if (ok && list_tensors(tf, err))
        return tf;
    torch_file_close(tf);
    return NULL;
}

void torch_file_close(struct torch_file *tf)
{
    if (!tf)
        return;
    for (size_t i = 0; i < tf->count; i++)
        free((char *)tf->tensors[i].name);
    for (size_t i = 0; i < tf->copy_count; i++)
        free(tf->copies[i]);
    free(tf->tensors);
    free(tf->copies);
    free(tf->places);
    pickle_free(tf->pickle);
    free(tf);
}

const struct raw_tensor *torch_file_tensors(const struct torch_file *tf, size_t *count)
{
    *count = tf->count;
    return tf->tensors;
}

const char *torch_file_metadata(const struct torch_file *tf, const char *key)
{
    const struct pickle_value *v = pickle_get(tf->pickle, pickle_root(tf->pickle), key);
    return v && v->kind == PICKLE_STRING ? v->string : NULL;
}

int64_t torch_file_integer(const struct torch_file *tf, const char *key, int64_t otherwise)
{
    const struct pickle_value *v = pickle_get(tf->pickle, pickle_root(tf->pickle), key);
    return v && v->kind == PICKLE_INTEGER ? v->integer : otherwise;
}
