/* lora.c: A module's tensors are found by how their names end, what it changes by how they begin
 * (lora_keys.h). */
#include "engine/model/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/io/tensor_file.h"
#include "engine/model/lora_keys.h"

#define UNET "model.diffusion_model."

struct module {
    char *key;
    const struct raw_tensor *parts[LORA_PARTS]; /* in the file */
    const struct lora_target *target;
};

struct lora {
    struct tensor_file *tf;
    struct lora_keys *keys;
    struct module *modules; /* those with a target, in order of the target's tensor */
    size_t module_count;
    size_t taken, left; /* of the file's modules; one of several tensors is several above */
    char *first_left;   /* its name, NULL when there is none */
};

/* ---- keys of the file ---- */

/* What a name ends with, and which part of a module that is. The longest that fits counts. */
static const struct {
    const char *end;
    int part;
    const char *then; /* what belongs to the module still */
} ends[] = {
    {".lora_down.weight", LORA_DOWN, ""},
    {".lora_up.weight", LORA_UP, ""},
    {".lora_mid.weight", LORA_MID, ""},
    {".lora_A.weight", LORA_DOWN, ""},
    {".lora_B.weight", LORA_UP, ""},
    {".lora_A.default.weight", LORA_DOWN, ""},
    {".lora_B.default.weight", LORA_UP, ""},
    {".lora_A.default_0.weight", LORA_DOWN, ""},
    {".lora_B.default_0.weight", LORA_UP, ""},
    {".lora.down.weight", LORA_DOWN, ""},
    {".lora.up.weight", LORA_UP, ""},
    {".lora_linear_layer.down.weight", LORA_DOWN, ""},
    {".lora_linear_layer.up.weight", LORA_UP, ""},
    {".processor.to_q_lora.down.weight", LORA_DOWN, ".to_q"},
    {".processor.to_q_lora.up.weight", LORA_UP, ".to_q"},
    {".processor.to_k_lora.down.weight", LORA_DOWN, ".to_k"},
    {".processor.to_k_lora.up.weight", LORA_UP, ".to_k"},
    {".processor.to_v_lora.down.weight", LORA_DOWN, ".to_v"},
    {".processor.to_v_lora.up.weight", LORA_UP, ".to_v"},
    {".processor.to_out_lora.down.weight", LORA_DOWN, ".to_out.0"},
    {".processor.to_out_lora.up.weight", LORA_UP, ".to_out.0"},
    {".lora_magnitude_vector", LORA_MAGNITUDE, ""},
    {".lora_magnitude_vector.weight", LORA_MAGNITUDE, ""},
    {".lora_magnitude_vector.default.weight", LORA_MAGNITUDE, ""},
    {".dora_scale", LORA_DORA, ""},
    {".alpha", LORA_ALPHA, ""},
    {".scale", LORA_SCALE, ""},
    {".diff", LORA_DIFF, ""},
    {".hada_w1_a", LORA_W1_A, ""},
    {".hada_w1_b", LORA_W1_B, ""},
    {".hada_w2_a", LORA_W2_A, ""},
    {".hada_w2_b", LORA_W2_B, ""},
    {".hada_t1", LORA_T1, ""},
    {".hada_t2", LORA_T2, ""},
    {".lokr_w1", LORA_KR_W1, ""},
    {".lokr_w2", LORA_KR_W2, ""},
    {".lokr_w1_a", LORA_KR_W1_A, ""},
    {".lokr_w1_b", LORA_KR_W1_B, ""},
    {".lokr_w2_a", LORA_KR_W2_A, ""},
    {".lokr_w2_b", LORA_KR_W2_B, ""},
    {".lokr_t2", LORA_KR_T2, ""},
};

/* Kinds that are known by name and not merged. */
static const struct {
    const char *has, *what;
} others[] = {
    {".oft_blocks", "OFT"},
    {".oft_diag", "OFT"},
    {".oft_R.", "OFT"},
    {".boft_", "BOFT"},
    {".on_input", "IA3"},
    {".a1.weight", "GLoRA"},
    {".b1.weight", "GLoRA"},
    {".w_norm", "a norm's weights"},
    {".b_norm", "a norm's weights"},
    {".diff_b", "a change of a bias"},
    {".lora_B.bias", "a change of a bias"},
    {".lora_embedding_", "a change of an embedding"},
};

/* The part, and in `module` what is before it; -1: the name ends with none. */
static int split(const char *name, char *module)
{
    size_t n = strlen(name), longest = 0;
    int part = -1;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t end = strlen(ends[i].end);
        if (end <= longest || end >= n || strcmp(name + n - end, ends[i].end) != 0 ||
            n - end + strlen(ends[i].then) >= LORA_KEY_SIZE)
            continue;
        longest = end;
        part = ends[i].part;
        snprintf(module, LORA_KEY_SIZE, "%.*s%s", (int)(n - end), name, ends[i].then);
    }
    return part;
}

static const char *show(char *buf, size_t size, const char *key)
{
    return raw_tensor_show(buf, size, key);
}

/* In order of name a module's tensors follow each other, but for those of modules inside of it. */
#define INSIDE 16
static struct module *module_of(struct lora *l, const char *key)
{
    size_t n = l->module_count;
    for (size_t i = n; i-- > 0 && n - i <= INSIDE;)
        if (strcmp(l->modules[i].key, key) == 0)
            return &l->modules[i];
    struct module *m = &l->modules[l->module_count];
    *m = (struct module){.key = strdup(key)};
    if (m->key)
        l->module_count++;
    return m->key ? m : NULL;
}

static bool list_modules(struct lora *l, struct err *err)
{
    size_t count = tensor_file_count(l->tf);
    l->modules = calloc(count + 1, sizeof *l->modules);
    if (!l->modules)
        return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    for (size_t i = 0; i < count; i++) {
        const struct raw_tensor *t = tensor_file_at(l->tf, i);
        char key[LORA_KEY_SIZE], shown[64];
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            if (strstr(t->name, others[k].has))
                return err_set(err, ERR_UNSUPPORTED, "%s: this is %s, which is not merged",
                               show(shown, sizeof shown, t->name), others[k].what);
        int part = split(t->name, key);
        if (part < 0)
            return err_set(err, ERR_UNSUPPORTED, "%s is no part of a LoRA that is known",
                           show(shown, sizeof shown, t->name));
        struct module *m = module_of(l, key);
        if (!m)
            return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
        m->parts[part] = t;
    }
    return true;
}

/* ---- opening ---- */

static struct lora_shape shape_of(const struct lora_target *t)
{
    const size_t *s = t->tensor->shape;
    return (struct lora_shape){t->all, s[1], t->tensor->ndim == 4 ? s[2] * s[3] : 1};
}

/* LoRAs are made for networks that take a latent alone. Where the first convolution takes more, as
 * that of inpainting models does, they change what it makes of the latent, which comes first. */
#define FIRST UNET "input_blocks.0.0.weight"
#define LATENT 4

/* As lora_delta_new; *shape is then that of what changes. */
static struct lora_delta *delta_of(const struct module *m, struct lora_shape *shape,
                                   struct err *err)
{
    struct err why;
    *shape = shape_of(m->target);
    struct lora_delta *d = lora_delta_new(m->parts, shape, err);
    bool lengths = m->parts[LORA_DORA] || m->parts[LORA_MAGNITUDE]; /* of whole rows */
    if (d || lengths || shape->k <= LATENT || strcmp(m->target->tensor->name, FIRST) != 0)
        return d;
    shape->k = LATENT;
    return lora_delta_new(m->parts, shape, &why);
}

static int by_target(const void *a, const void *b)
{
    const struct module *x = a, *y = b;
    return strcmp(x->target->tensor->name, y->target->tensor->name);
}

/* Checks that a module fits its first target, and adds it for all of these to `out`. */
static bool take_module(struct lora *l, const struct module *m, struct module *out, size_t *count,
                        struct err *err)
{
    for (const struct lora_target *t = m->target; t; t = lora_keys_next(l->keys, t)) {
        struct lora_shape shape;
        struct err why;
        char shown[96];
        struct module *own = &out[*count];
        *own = *m;
        own->target = t;
        struct lora_delta *d = t == m->target ? delta_of(own, &shape, &why) : NULL;
        if (t == m->target && !d)
            return err_set(err, why.code, "%s: %s", show(shown, sizeof shown, m->key), why.msg);
        lora_delta_free(d);
        if (!(own->key = strdup(m->key)))
            return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
        ++*count;
    }
    return true;
}

/* Leaves modules that change a weight, each of which is checked. */
static bool match_modules(struct lora *l, struct err *err)
{
    size_t kept = 0, count = l->module_count, all = 1, taken = 0;
    for (size_t i = 0; i < count; i++) {
        const struct lora_target *t = lora_keys_find(l->keys, l->modules[i].key);
        l->modules[i].target = t;
        for (; t; t = lora_keys_next(l->keys, t))
            all++;
    }
    struct module *out = calloc(all, sizeof *out);
    bool ok = out || err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    for (size_t i = 0; i < count; i++) {
        struct module *m = &l->modules[i];
        if (ok && m->target) {
            ok = take_module(l, m, out, &kept, err);
            taken++;
        } else if (ok && !l->first_left) {
            l->first_left = m->key;
            m->key = NULL;
        }
        free(m->key);
    }
    free(l->modules);
    l->modules = out;
    l->module_count = kept;
    l->taken = taken;
    l->left = count - taken;
    if (!ok)
        return false;
    qsort(l->modules, kept, sizeof *l->modules, by_target);
    /* Families share names, and the sizes of some weights. */
    return (taken > 0 && taken >= l->left) ||
           err_set(err, ERR_INVALID,
                   "%zu of its %zu parts change a weight of this model, wanted half of them or "
                   "more (is it for another kind?)",
                   taken, count);
}

static void log_left(const struct lora *l, const char *name)
{
    char lora[96], first[2 * LORA_KEY_SIZE];
    if (l->left)
        log_event(LOG_WARN, "lora_left", "name=%s parts=%zu merged=%zu first_left=%s",
                  log_quote(lora, sizeof lora, name), l->left, l->taken,
                  log_quote(first, sizeof first, l->first_left));
}

struct lora *lora_open(int fd, const char *name, const struct checkpoint *cp, struct err *err)
{
    struct lora *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, ERR_INTERNAL, "no memory for a LoRA");
        return NULL;
    }
    if ((l->tf = tensor_file_open_fd(fd, NULL, err)) && (l->keys = lora_keys_new(cp, err)) &&
        list_modules(l, err) && match_modules(l, err)) {
        log_left(l, name);
        return l;
    }
    struct err why = *err;
    err_set(err, why.code, "LoRA %s: %s", name, why.msg);
    lora_free(l);
    return NULL;
}

void lora_free(struct lora *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->module_count; i++)
        free(l->modules[i].key);
    lora_keys_free(l->keys);
    free(l->modules);
    free(l->first_left);
    tensor_file_close(l->tf);
    free(l);
}

/* ---- adding ---- */

/* The first module of a tensor; its others follow. NULL: none. */
static const struct module *first_module(const struct lora *l, const char *name)
{
    size_t low = 0, high = l->module_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(l->modules[mid].target->tensor->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->module_count && strcmp(l->modules[low].target->tensor->name, name) == 0
               ? &l->modules[low]
               : NULL;
}

static double strength_of(const struct lora_use *use, const char *name)
{
    return strncmp(name, UNET, strlen(UNET)) == 0 ? use->unet : use->text;
}

/* Some rows of a change, and of a tensor's. */
struct rows {
    size_t from; /* of the change */
    size_t at;   /* of the numbers at hand */
    size_t count;
};

/* Those of `t`, which may be a part of the target's tensor. */
static struct rows rows_of(const struct lora_target *target, const struct raw_tensor *t)
{
    const struct raw_tensor *whole = target->tensor;
    size_t row = whole->bytes / whole->shape[0];
    size_t first = row ? (size_t)((const char *)t->data - (const char *)whole->data) / row : 0;
    size_t low = first > target->at ? first : target->at;
    size_t end = first + t->shape[0], high = target->at + target->rows;
    high = end < high ? end : high;
    return low < high ? (struct rows){target->from + low - target->at, low - first, high - low}
                      : (struct rows){0, 0, 0};
}

bool lora_changes(const struct lora_use *use, const struct raw_tensor *t)
{
    const struct lora *l = use->lora;
    const struct module *m = first_module(l, t->name), *end = l->modules + l->module_count;
    if (strength_of(use, t->name) == 0)
        return false;
    for (; m && m < end && strcmp(m->target->tensor->name, t->name) == 0; m++)
        if (rows_of(m->target, t).count)
            return true;
    return false;
}

/* Adds to the first `shape->k` columns of w [count, k taps]. */
static bool add_narrow(const struct lora_delta *d, const struct lora_shape *shape,
                       struct device *dev, double strength, float *w, size_t k,
                       const struct rows *rows, struct err *err)
{
    size_t row = shape->k * shape->taps;
    float *part = malloc(rows->count * row * sizeof *part);
    if (!part)
        return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    for (size_t i = 0; i < rows->count; i++)
        memcpy(part + i * row, w + i * k * shape->taps, row * sizeof *part);
    bool ok = lora_delta_add(d, dev, strength, part, rows->from, rows->count, err);
    for (size_t i = 0; i < rows->count; i++)
        memcpy(w + i * k * shape->taps, part + i * row, row * sizeof *part);
    free(part);
    return ok;
}

bool lora_add(const struct lora_use *use, struct device *dev, const struct raw_tensor *t, float *w,
              struct err *err)
{
    const struct lora *l = use->lora;
    const struct module *m = first_module(l, t->name), *end = l->modules + l->module_count;
    bool ok = true;
    for (; ok && m && m < end && strcmp(m->target->tensor->name, t->name) == 0; m++) {
        struct lora_shape shape, whole = shape_of(m->target);
        struct rows rows = rows_of(m->target, t);
        double strength = strength_of(use, t->name);
        if (!rows.count)
            continue;
        struct lora_delta *d = delta_of(m, &shape, err);
        float *own = w + rows.at * whole.k * whole.taps;
        ok = d && (shape.k < whole.k
                       ? add_narrow(d, &shape, dev, strength, own, whole.k, &rows, err)
                       : lora_delta_add(d, dev, strength, own, rows.from, rows.count, err));
        lora_delta_free(d);
    }
    return ok;
}

/* ---- what is added as weights are read ---- */

struct piece {
    struct lora_delta *delta;
    double strength;
    struct rows rows;
};

struct more {
    struct matrix_more base;
    struct piece *pieces;
    size_t count;
};

static void add_more(const struct matrix_more *base, size_t row, size_t at, size_t n, float *w)
{
    const struct more *more = (const struct more *)base;
    for (size_t i = 0; i < more->count; i++) {
        const struct piece *p = &more->pieces[i];
        if (row >= p->rows.at && row - p->rows.at < p->rows.count)
            lora_delta_add_part(p->delta, p->strength, p->rows.from + row - p->rows.at, at, n, w);
    }
}

void lora_more_free(struct matrix_more *base)
{
    struct more *more = (struct more *)base;
    if (!more)
        return;
    for (size_t i = 0; i < more->count; i++)
        lora_delta_free(more->pieces[i].delta);
    free(more->pieces);
    free(more);
}

/* *plain: it could be added. */
static bool add_piece(struct more *more, const struct module *m, double strength,
                      const struct rows *rows, size_t *bytes, bool *plain, struct err *err)
{
    struct lora_shape shape, whole = shape_of(m->target);
    struct lora_delta *d = delta_of(m, &shape, err);
    if (!d)
        return false;
    *plain = lora_delta_is_plain(d) && shape.k == whole.k;
    struct piece *pieces =
        *plain ? realloc(more->pieces, (more->count + 1) * sizeof *pieces) : more->pieces;
    if (!*plain || !pieces) {
        lora_delta_free(d);
        return !*plain || err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    }
    more->pieces = pieces;
    pieces[more->count++] = (struct piece){d, strength, *rows};
    *bytes += lora_delta_bytes(d);
    return true;
}

bool lora_more_new(const struct lora_use *uses, size_t count, const struct raw_tensor *t,
                   struct matrix_more **out, size_t *bytes, struct err *err)
{
    struct more *more = calloc(1, sizeof *more);
    bool ok = more || err_set(err, ERR_INTERNAL, "no memory for a LoRA"), plain = true;
    *out = NULL;
    *bytes = 0;
    for (size_t i = 0; ok && plain && i < count; i++) {
        const struct lora *l = uses[i].lora;
        const struct module *m = first_module(l, t->name), *end = l->modules + l->module_count;
        double strength = strength_of(&uses[i], t->name);
        for (; ok && plain && m && m < end && strcmp(m->target->tensor->name, t->name) == 0; m++) {
            struct rows rows = rows_of(m->target, t);
            if (rows.count && strength != 0)
                ok = add_piece(more, m, strength, &rows, bytes, &plain, err);
        }
    }
    if (ok && plain) {
        more->base.add = add_more;
        *out = &more->base;
        return true;
    }
    lora_more_free(more ? &more->base : NULL);
    return ok;
}
