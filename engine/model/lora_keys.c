/* lora_keys.c: A module's key is flat, dots being underscores:
 * "unet_input_blocks_4_1_proj_in" or "te2_text_model_encoder_layers_0_mlp_fc1". The checkpoint's
 * weights have such keys, too, some several, and are looked up by them. */
#include "engine/model/lora_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/names_flow.h"
#include "engine/model/clip.h"

#define UNET "model.diffusion_model."

struct lora_keys {
    struct lora_target *at; /* in order of key */
    size_t count, room;
    struct names_layout layout; /* of the checkpoint's UNet */
};

/* ---- keys of the checkpoint ---- */

static void flatten(char *s)
{
    for (; *s; s++)
        if (*s == '.')
            *s = '_';
}

/* What is meant of `target`, under this key. */
static bool add_target(struct lora_keys *l, const struct lora_target *target, const char *kind,
                       const char *name)
{
    char key[LORA_KEY_SIZE];
    if ((size_t)snprintf(key, sizeof key, "%s_%s", kind, name) >= sizeof key)
        return true; /* longer than any that a file could ask for */
    flatten(key);
    if (l->count == l->room) {
        size_t room = 2 * l->room + 64;
        struct lora_target *targets = realloc(l->at, room * sizeof *targets);
        if (!targets)
            return false;
        l->at = targets;
        l->room = room;
    }
    struct lora_target *t = &l->at[l->count];
    *t = *target;
    t->key = strdup(key);
    l->count += t->key != NULL;
    return t->key;
}

/* Under the names that it has in diffusers' layout, where these are others. */
static bool add_other_name(struct lora_keys *l, const struct lora_target *target, const char *kind,
                           const char *name)
{
    char dotted[LORA_KEY_SIZE], theirs[LORA_KEY_SIZE];
    if ((size_t)snprintf(dotted, sizeof dotted, "%s.", name) >= sizeof dotted)
        return true;
    for (int nth = 0; names_flow_back(dotted, nth, theirs, sizeof theirs); nth++) {
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

static bool add_single(struct lora_keys *l, const struct raw_tensor *t, const char *kind,
                       const char *name)
{
    const char *last = strrchr(name, '.') + 1;
    size_t n = t->shape[0], k = t->shape[1];
    char other[LORA_KEY_SIZE];
    for (size_t i = 0; i < sizeof single_parts / sizeof *single_parts; i++) {
        size_t from = single_parts[i].from * k, count = single_parts[i].count * k;
        struct lora_target in_all = {NULL, t, from, count, 0, count},
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
static bool add_halves(struct lora_keys *l, const struct raw_tensor *t, const char *kind,
                       const char *name)
{
    size_t half = t->shape[0] / 2;
    struct lora_target first = {NULL, t, 0, half, half, 2 * half},
                       second = {NULL, t, half, half, 0, 2 * half};
    return add_target(l, &first, kind, name) && add_target(l, &second, kind, name);
}

/* What words are told in the last block of Stable Diffusion 3, which needs no more than a shift and
 * a scale of them: the other way round under the other name. */
static bool is_last_words(const struct raw_tensor *t, const char *name)
{
    return strncmp(name, "joint_blocks.", 13) == 0 && t->ndim == 2 &&
           strstr(name, ".context_block.adaLN_modulation.1") && t->shape[0] == 2 * t->shape[1];
}

static bool add_last_words(struct lora_keys *l, const struct checkpoint *cp,
                           const struct raw_tensor *t, const char *kind, const char *name)
{
    char dotted[LORA_KEY_SIZE], theirs[LORA_KEY_SIZE];
    bool is_theirs = checkpoint_find(cp, UNET "final_layer.scale_shift.weight");
    struct lora_target all = {NULL, t, 0, t->shape[0], 0, t->shape[0]};
    if ((size_t)snprintf(dotted, sizeof dotted, "%s.", name) >= sizeof dotted ||
        !names_flow_back(dotted, 0, theirs, sizeof theirs))
        return true;
    theirs[strlen(theirs) - 1] = '\0';
    return add_target(l, &all, kind, is_theirs ? theirs : name) &&
           add_halves(l, t, kind, is_theirs ? name : theirs);
}

/* Of flow transformers: queries, keys and values are one weight or three, and the last modulation
 * of those that have one with a shift is one way round or the other. */
static bool add_flow_targets(struct lora_keys *l, const struct checkpoint *cp,
                             const struct raw_tensor *t, const char *kind, const char *name)
{
    static const char *const parts[] = {"q", "k", "v"};
    size_t n = t->shape[0], length = strlen(name);
    struct lora_target all = {NULL, t, 0, n, 0, n};
    char other[LORA_KEY_SIZE];
    if (length > 3 && strcmp(name + length - 4, ".qkv") == 0 && n % 3 == 0) {
        for (size_t i = 0; i < 3; i++) {
            struct lora_target third = {NULL, t, i * n / 3, n / 3, 0, n / 3};
            snprintf(other, sizeof other, "%.*s%s", (int)length - 3, name, parts[i]);
            if (!add_target(l, &third, kind, other) || !add_other_name(l, &third, kind, other))
                return false;
        }
        return true;
    }
    for (size_t i = 0; i < 3 && length > 1; i++)
        if (name[length - 2] == '.' && name[length - 1] == *parts[i]) {
            struct lora_target of_three = {NULL, t, 0, n, i * n, 3 * n};
            snprintf(other, sizeof other, "%.*sqkv", (int)length - 1, name);
            if (!add_target(l, &of_three, kind, other))
                return false;
        }
    if (strncmp(name, "single_blocks.", 14) == 0 && !add_single(l, t, kind, name))
        return false;
    bool turned = checkpoint_find(cp, UNET "double_blocks.0.img_mlp.0.weight") ||
                  checkpoint_find(cp, UNET "joint_blocks.0.x_block.mlp.fc1.weight");
    if (turned && strcmp(name, "final_layer.adaLN_modulation.1") == 0)
        return add_halves(l, t, kind, "norm_out.linear");
    if (turned && strcmp(name, "final_layer.scale_shift") == 0)
        return add_halves(l, t, kind, "final_layer.adaLN_modulation.1") &&
               add_target(l, &all, kind, "norm_out.linear");
    return add_other_name(l, &all, kind, name);
}

/* `name` without the root and without ".weight". */
static bool add_targets_of(struct lora_keys *l, const struct checkpoint *cp,
                           const struct raw_tensor *t, const char *kind, const char *name)
{
    static const char *const thirds[] = {"q_proj", "k_proj", "v_proj"};
    const char *fused = strstr(name, "in_proj");
    size_t n = t->shape[0];
    struct lora_target all = {NULL, t, 0, n, 0, n};
    if (strcmp(kind, "unet") == 0 && is_last_words(t, name))
        return add_last_words(l, cp, t, kind, name);
    if (strcmp(kind, "unet") == 0)
        return add_target(l, &all, kind, name) && add_flow_targets(l, cp, t, kind, name);
    if (!fused)
        return add_target(l, &all, kind, name);
    if (n % 3 != 0)
        return true;
    for (size_t i = 0; i < 3; i++) {
        struct lora_target third = {NULL, t, i * n / 3, n / 3, 0, n / 3};
        char part[LORA_KEY_SIZE];
        snprintf(part, sizeof part, "%.*s%s", (int)(fused - name), name, thirds[i]);
        if (!add_target(l, &third, kind, part))
            return false;
    }
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct lora_target *)a)->key, ((const struct lora_target *)b)->key);
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

static bool list_targets(struct lora_keys *l, const struct checkpoint *cp, struct err *err)
{
    static const struct {
        const char *root, *kind;
    } roots[] = {{UNET, "unet"}, {CLIP_FIRST, "te1"}, {CLIP_SECOND, "te2"}};
    size_t count = checkpoint_count(cp);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        size_t n = strlen(t->name), end = strlen(".weight");
        char name[LORA_KEY_SIZE];
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
    if (l->count)
        qsort(l->at, l->count, sizeof *l->at, by_key);
    return true;
}

/* The first of this key; those that follow it may have the same. NULL: none. */
static const struct lora_target *find_target(const struct lora_keys *l, const char *key)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(l->at[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->count && strcmp(l->at[low].key, key) == 0 ? &l->at[low] : NULL;
}

/* ---- what a file calls a module ---- */

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

const struct lora_target *lora_keys_find(const struct lora_keys *l, const char *module)
{
    char key[LORA_KEY_SIZE], dotted[LORA_KEY_SIZE], ldm[LORA_KEY_SIZE];
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
    const struct lora_target *found = find_target(l, key);
    if (found || text)
        return found;
    unflatten(key + strlen("unet_"), dotted, sizeof dotted - 1);
    strcat(dotted, ".");
    if (!names_to_ldm(&l->layout, NAMES_UNET, dotted, ldm, sizeof ldm))
        return NULL;
    ldm[strlen(ldm) - 1] = '\0';
    if ((size_t)snprintf(key, sizeof key, "unet_%s", ldm + strlen(UNET)) >= sizeof key)
        return NULL;
    flatten(key);
    return find_target(l, key);
}

const struct lora_target *lora_keys_next(const struct lora_keys *l, const struct lora_target *t)
{
    const struct lora_target *next = t + 1;
    return next < l->at + l->count && strcmp(next->key, t->key) == 0 ? next : NULL;
}

struct lora_keys *lora_keys_new(const struct checkpoint *cp, struct err *err)
{
    struct lora_keys *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, ERR_INTERNAL, "no memory for a LoRA");
        return NULL;
    }
    l->layout = layout_of(cp);
    if (list_targets(l, cp, err))
        return l;
    lora_keys_free(l);
    return NULL;
}

void lora_keys_free(struct lora_keys *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i].key);
    free(l->at);
    free(l);
}
