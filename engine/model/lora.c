/* lora.c: All layouts come down to one: a module's key, in which dots are underscores,
 * "unet_input_blocks_4_1_proj_in" or "te2_text_model_encoder_layers_0_mlp_fc1". The checkpoint's
 * weights have such keys, too, and are looked up by them. */
#include "engine/model/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/io/tensor_file.h"
#include "engine/model/clip.h"

#define KEY_SIZE 256
#define UNET "model.diffusion_model."

/* A weight of the checkpoint under its key; a key may have several. A module that is called so has
 * `all` rows, of which those from `from` on change `rows` rows of the tensor, those from `at` on.
 */
struct target {
    char *key;
    const struct raw_tensor *tensor;
    size_t at, rows, from, all;
};

struct module {
    char *key;
    const struct raw_tensor *parts[LORA_PARTS]; /* in the file */
    const struct target *target;
};

struct lora {
    struct tensor_file *tf;
    struct target *targets; /* in order of key */
    struct module *modules; /* those with a target, in order of the target's tensor */
    size_t target_count, target_room, module_count;
    size_t taken, left; /* of the file's modules; one of several tensors is several above */
    char *first_left; /* its name, NULL when there is none */
};

/* ---- keys of the checkpoint ---- */

static void flatten(char *s)
{
    for (; *s; s++)
        if (*s == '.')
            *s = '_';
}

/* What is meant of `target`, under this key. */
static bool add_target(struct lora *l, const struct target *target, const char *kind,
                       const char *name)
{
    char key[KEY_SIZE];
    if ((size_t)snprintf(key, sizeof key, "%s_%s", kind, name) >= sizeof key)
        return true; /* longer than any that a file could ask for */
    flatten(key);
    if (l->target_count == l->target_room) {
        size_t room = 2 * l->target_room + 64;
        struct target *targets = realloc(l->targets, room * sizeof *targets);
        if (!targets)
            return false;
        l->targets = targets;
        l->target_room = room;
    }
    struct target *t = &l->targets[l->target_count];
    *t = *target;
    t->key = strdup(key);
    l->target_count += t->key != NULL;
    return t->key;
}

/* Under the names that it has in diffusers' layout, where these are others. */
static bool add_other_name(struct lora *l, const struct target *target, const char *kind,
                           const char *name)
{
    char dotted[KEY_SIZE], theirs[KEY_SIZE];
    if ((size_t)snprintf(dotted, sizeof dotted, "%s.", name) >= sizeof dotted)
        return true;
    for (int nth = 0; names_of_flow(dotted, nth, theirs, sizeof theirs); nth++) {
        theirs[strlen(theirs) - 1] = '\0';
        if (strcmp(theirs, name) != 0 && !add_target(l, target, kind, theirs))
            return false;
    }
    return true;
}

/* FLUX.1's single blocks have queries, keys, values and the way into the feed-forward in one
 * weight, each of so many times its columns. */
static const struct {
    const char *part;
    size_t from, count;
} single_parts[] = {{"q", 0, 1}, {"k", 1, 1}, {"v", 2, 1}, {"mlp", 3, 4}};
#define SINGLE_ALL 7

static bool add_single(struct lora *l, const struct raw_tensor *t, const char *kind,
                       const char *name)
{
    const char *last = strrchr(name, '.') + 1;
    size_t n = t->shape[0], k = t->shape[1];
    char other[KEY_SIZE];
    for (size_t i = 0; i < sizeof single_parts / sizeof *single_parts; i++) {
        size_t from = single_parts[i].from * k, count = single_parts[i].count * k;
        struct target in_all = {NULL, t, from, count, 0, count},
                      of_all = {NULL, t, 0, n, from, SINGLE_ALL * k};
        if (strcmp(last, "linear1") == 0 && n == SINGLE_ALL * k) {
            snprintf(other, sizeof other, "%.*s%s", (int)(last - name), name, single_parts[i].part);
            if (!add_target(l, &in_all, kind, other) || !add_other_name(l, &in_all, kind, other))
                return false;
        } else if (strcmp(last, single_parts[i].part) == 0 && n == count) {
            snprintf(other, sizeof other, "%.*slinear1", (int)(last - name), name);
            if (!add_target(l, &of_all, kind, other))
                return false;
        }
    }
    return true;
}

/* What has its halves the other way round under the other name. */
static bool add_halves(struct lora *l, const struct raw_tensor *t, const char *kind,
                       const char *name)
{
    size_t half = t->shape[0] / 2;
    struct target first = {NULL, t, 0, half, half, 2 * half},
                  second = {NULL, t, half, half, 0, 2 * half};
    return add_target(l, &first, kind, name) && add_target(l, &second, kind, name);
}

/* Of flow transformers: queries, keys and values are one weight or three, and FLUX's last
 * modulation is one way round or the other. */
static bool add_flow_targets(struct lora *l, const struct checkpoint *cp,
                             const struct raw_tensor *t, const char *kind, const char *name)
{
    static const char *const parts[] = {"q", "k", "v"};
    size_t n = t->shape[0], length = strlen(name);
    struct target all = {NULL, t, 0, n, 0, n};
    char other[KEY_SIZE];
    if (length > 3 && strcmp(name + length - 4, ".qkv") == 0 && n % 3 == 0) {
        for (size_t i = 0; i < 3; i++) {
            struct target third = {NULL, t, i * n / 3, n / 3, 0, n / 3};
            snprintf(other, sizeof other, "%.*s%s", (int)length - 3, name, parts[i]);
            if (!add_target(l, &third, kind, other) || !add_other_name(l, &third, kind, other))
                return false;
        }
        return true;
    }
    for (size_t i = 0; i < 3 && length > 1; i++)
        if (name[length - 2] == '.' && name[length - 1] == *parts[i]) {
            struct target of_three = {NULL, t, 0, n, i * n, 3 * n};
            snprintf(other, sizeof other, "%.*sqkv", (int)length - 1, name);
            if (!add_target(l, &of_three, kind, other))
                return false;
        }
    if (strncmp(name, "single_blocks.", 14) == 0 && !add_single(l, t, kind, name))
        return false;
    bool flux = checkpoint_find(cp, UNET "double_blocks.0.img_mlp.0.weight");
    if (flux && strcmp(name, "final_layer.adaLN_modulation.1") == 0)
        return add_halves(l, t, kind, "norm_out.linear");
    if (flux && strcmp(name, "final_layer.scale_shift") == 0)
        return add_halves(l, t, kind, "final_layer.adaLN_modulation.1") &&
               add_target(l, &all, kind, "norm_out.linear");
    return add_other_name(l, &all, kind, name);
}

/* `name` without the root and without ".weight". */
static bool add_targets_of(struct lora *l, const struct checkpoint *cp, const struct raw_tensor *t,
                           const char *kind, const char *name)
{
    static const char *const thirds[] = {"q_proj", "k_proj", "v_proj"};
    const char *fused = strstr(name, "in_proj");
    size_t n = t->shape[0];
    struct target all = {NULL, t, 0, n, 0, n};
    if (strcmp(kind, "unet") == 0)
        return add_target(l, &all, kind, name) && add_flow_targets(l, cp, t, kind, name);
    if (!fused)
        return add_target(l, &all, kind, name);
    if (n % 3 != 0)
        return true;
    for (size_t i = 0; i < 3; i++) {
        struct target third = {NULL, t, i * n / 3, n / 3, 0, n / 3};
        char part[KEY_SIZE];
        snprintf(part, sizeof part, "%.*s%s", (int)(fused - name), name, thirds[i]);
        if (!add_target(l, &third, kind, part))
            return false;
    }
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct target *)a)->key, ((const struct target *)b)->key);
}

/* A matrix or convolution whose numbers can be read. A file may hold more than its model, and there
 * a tensor without numbers may claim any size, for 0 times that is 0. */
static bool is_target(const struct raw_tensor *t)
{
    if ((t->ndim != 2 && t->ndim != 4) || t->dtype == DTYPE_OTHER)
        return false;
    if (strstr(t->name, "embeddings.") || strstr(t->name, "text_projection"))
        return false; /* not among `struct weights`, which are merged */
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] < 1 || t->shape[i] > CHECKPOINT_SIZE_LIMIT)
            return false;
    return true;
}

static bool list_targets(struct lora *l, const struct checkpoint *cp, struct err *err)
{
    static const struct {
        const char *root, *kind;
    } roots[] = {{UNET, "unet"}, {CLIP_FIRST, "te1"}, {CLIP_SECOND, "te2"}};
    size_t count = checkpoint_count(cp);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        size_t n = strlen(t->name), end = strlen(".weight");
        char name[KEY_SIZE];
        if (!is_target(t) || n < end || n >= sizeof name ||
            strcmp(t->name + n - end, ".weight") != 0)
            continue;
        for (size_t k = 0; ok && k < sizeof roots / sizeof *roots; k++) {
            size_t root = strlen(roots[k].root);
            if (strncmp(t->name, roots[k].root, root) != 0 || n < root + end)
                continue;
            snprintf(name, sizeof name, "%.*s", (int)(n - root - end), t->name + root);
            ok = add_targets_of(l, cp, t, roots[k].kind, name);
        }
    }
    if (!ok)
        return err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    if (l->target_count)
        qsort(l->targets, l->target_count, sizeof *l->targets, by_key);
    return true;
}

/* The first of this key; those that follow it may have the same. NULL: none. */
static const struct target *find_target(const struct lora *l, const char *key)
{
    size_t low = 0, high = l->target_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(l->targets[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->target_count && strcmp(l->targets[low].key, key) == 0 ? &l->targets[low] : NULL;
}

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
            n - end + strlen(ends[i].then) >= KEY_SIZE)
            continue;
        longest = end;
        part = ends[i].part;
        snprintf(module, KEY_SIZE, "%.*s%s", (int)(n - end), name, ends[i].then);
    }
    return part;
}

/* Which network a module is of, by how its name begins. */
static const struct {
    const char *start, *kind;
} starts[] = {
    {"lora_unet_", "unet"},
    {"lycoris_", "unet"},
    {"lora_te_", "te1"},
    {"lora_te1_", "te1"},
    {"lora_te2_", "te2"},
    {"base_model.model.unet.", "unet"},
    {"base_model.model.", "unet"},
    {"unet.", "unet"},
    {"text_encoder.", "te1"},
    {"text_encoder_2.", "te2"},
    {"diffusion_model.", "unet"},
    {UNET, "unet"},
    {"transformer.", "unet"},
    {"lora_transformer_", "unet"},
    {"base_model.model.transformer.", "unet"},
};

/* "down_blocks_1_attentions_0_proj_in" as diffusers spells it as far as names_to_ldm looks: numbers
 * between dots, and so what is before and behind "block" and "embedding". */
static void unflatten(const char *flat, char *out, size_t size)
{
    static const char *const heads[] = {"mid_block_", "time_embedding_", "add_embedding_"};
    size_t used = 0;
    snprintf(out, size, "%s", flat);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (strncmp(flat, heads[i], strlen(heads[i])) == 0)
            out[strlen(heads[i]) - 1] = '.';
    for (; out[used]; used++) {
        size_t digits = out[used] == '_' ? strspn(out + used + 1, "0123456789") : 0;
        if (digits && out[used + 1 + digits] == '_')
            out[used] = out[used + 1 + digits] = '.';
    }
}

/* How many blocks a level of the checkpoint's UNet has, which diffusers' names count by level. */
static struct names_layout layout_of(const struct checkpoint *cp)
{
    struct names_layout layout = {.diffusers = true};
    int n = 1;
    while (checkpoint_findf(cp, UNET "input_blocks.%d.0.in_layers.2.weight", n))
        n++;
    layout.unet_blocks = n - 1;
    for (int level = 0; level < 32; level++)
        if (checkpoint_findf(cp, UNET "output_blocks.%d.1.proj_in.weight", n * level))
            layout.up_attention |= 1u << level;
    return layout;
}

/* The target of a module that is called so in the file; NULL: this model has none. */
static const struct target *target_of(const struct lora *l, const struct names_layout *layout,
                                      const char *module)
{
    char key[KEY_SIZE], dotted[KEY_SIZE], ldm[KEY_SIZE];
    size_t best = sizeof starts / sizeof *starts;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncmp(module, starts[i].start, strlen(starts[i].start)) == 0 &&
            (best == sizeof starts / sizeof *starts ||
             strlen(starts[i].start) > strlen(starts[best].start)))
            best = i;
    bool bare = best == sizeof starts / sizeof *starts; /* a UNet's, without a beginning */
    const char *rest = bare ? module : module + strlen(starts[best].start);
    const char *kind = bare ? "unet" : starts[best].kind;
    bool text = strcmp(kind, "unet") != 0;
    bool model = strncmp(rest, "text_model", strlen("text_model")) == 0;
    if ((size_t)snprintf(key, sizeof key, "%s_%s%s", kind, text && !model ? "text_model_" : "",
                         rest) >= sizeof key)
        return NULL;
    flatten(key);
    const struct target *found = find_target(l, key);
    if (found || text)
        return found;
    unflatten(key + strlen("unet_"), dotted, sizeof dotted - 1);
    strcat(dotted, ".");
    if (!names_to_ldm(layout, NAMES_UNET, dotted, ldm, sizeof ldm))
        return NULL;
    ldm[strlen(ldm) - 1] = '\0';
    if ((size_t)snprintf(key, sizeof key, "unet_%s", ldm + strlen(UNET)) >= sizeof key)
        return NULL;
    flatten(key);
    return find_target(l, key);
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
        char key[KEY_SIZE], shown[64];
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

static struct lora_shape shape_of(const struct target *t)
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
    const struct target *end = l->targets + l->target_count;
    for (const struct target *t = m->target; t < end && strcmp(t->key, m->target->key) == 0; t++) {
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

static size_t targets_from(const struct lora *l, const struct target *first)
{
    size_t n = 0;
    for (const struct target *t = first; t && t < l->targets + l->target_count; t++, n++)
        if (strcmp(t->key, first->key) != 0)
            break;
    return n;
}

/* Leaves modules that change a weight, each of which is checked. */
static bool match_modules(struct lora *l, const struct checkpoint *cp, struct err *err)
{
    struct names_layout layout = layout_of(cp);
    size_t kept = 0, count = l->module_count, all = 1, taken = 0;
    for (size_t i = 0; i < count; i++) {
        l->modules[i].target = target_of(l, &layout, l->modules[i].key);
        all += targets_from(l, l->modules[i].target);
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
    char lora[96], first[2 * KEY_SIZE];
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
    if ((l->tf = tensor_file_open_fd(fd, NULL, err)) && list_targets(l, cp, err) &&
        list_modules(l, err) && match_modules(l, cp, err)) {
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
    for (size_t i = 0; i < l->target_count; i++)
        free(l->targets[i].key);
    for (size_t i = 0; i < l->module_count; i++)
        free(l->modules[i].key);
    free(l->targets);
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
static struct rows rows_of(const struct target *target, const struct raw_tensor *t)
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
