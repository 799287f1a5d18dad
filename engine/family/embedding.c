#include "engine/family/embedding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PARAM "string_to_param."
#define WIDTH_MOST 8192

/* The names of the tensors, the first text encoder's first. */
struct names {
    const char *at[EMBEDDING_ENCODERS];
    int count;
};

/* The one below string_to_param; how many there are. */
static int find_param(const struct checkpoint *cp, const char **name)
{
    int count = 0;
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        if (strncmp(checkpoint_at(cp, i)->name, PARAM, strlen(PARAM)) == 0) {
            *name = checkpoint_at(cp, i)->name;
            count++;
        }
    return count;
}

static bool find_names(const struct checkpoint *cp, struct names *out, struct err *err)
{
    const char *param = NULL;
    int params = find_param(cp, &param);
    *out = (struct names){.count = 1};
    if (params > 1)
        return err_set(err, ERR_UNSUPPORTED, "it is of %d words: wanted one", params);
    if (params == 1) {
        out->at[0] = param;
    } else if (checkpoint_find(cp, "clip_l") && checkpoint_find(cp, "clip_g")) {
        *out = (struct names){{"clip_l", "clip_g"}, 2};
    } else if (checkpoint_find(cp, "emb_params")) {
        out->at[0] = "emb_params";
    } else if (checkpoint_count(cp) == 1) {
        out->at[0] = checkpoint_at(cp, 0)->name;
    } else {
        return err_set(err, ERR_INVALID,
                       "wanted string_to_param, emb_params, clip_l and clip_g, or one tensor by a "
                       "word's name, found %zu tensors of other names",
                       checkpoint_count(cp));
    }
    return true;
}

/* A row by itself is one vector. */
static bool get(const struct checkpoint *cp, const char *name, struct raw_tensor *out,
                size_t *vectors, size_t *width, struct err *err)
{
    const struct raw_tensor *t = checkpoint_find(cp, name);
    int ndim = t && t->ndim == 1 ? 1 : 2;
    if (!checkpoint_get(cp, name, ndim, (const size_t[]){0, 0}, out, err))
        return false;
    *vectors = ndim == 1 ? 1 : out->shape[0];
    *width = out->shape[ndim - 1];
    return (*vectors >= 1 && *vectors <= PICTOR_EMBEDDING_VECTORS && *width >= 1 &&
            *width <= WIDTH_MOST) ||
           err_set(err, ERR_INVALID, "wanted 1..%d vectors of 1..%d numbers, found %zu of %zu",
                   PICTOR_EMBEDDING_VECTORS, WIDTH_MOST, *vectors, *width);
}

static void copy_text(const struct checkpoint *cp, const char *key, char *out, size_t size)
{
    const char *text = checkpoint_metadata(cp, key);
    snprintf(out, size, "%s", text ? text : "");
}

/* The tensors, the first text encoder's first; all are of `vectors` rows. */
struct found {
    struct names names;
    struct raw_tensor at[EMBEDDING_ENCODERS];
    size_t vectors, widths[EMBEDDING_ENCODERS];
};

static bool find(const struct checkpoint *cp, struct found *out, struct err *err)
{
    if (!find_names(cp, &out->names, err))
        return false;
    for (int i = 0; i < out->names.count; i++) {
        size_t vectors;
        if (!get(cp, out->names.at[i], &out->at[i], &vectors, &out->widths[i], err))
            return false;
        if (i > 0 && vectors != out->vectors)
            return err_set(err, ERR_INVALID,
                           "wanted as many vectors for both text encoders, found %zu and %zu",
                           out->vectors, vectors);
        out->vectors = vectors;
    }
    return true;
}

bool embedding_describe(const struct checkpoint *cp, struct pictor_embedding_info *out,
                        struct err *err)
{
    struct found f;
    *out = (struct pictor_embedding_info){.vectors = 0};
    if (!find(cp, &f, err))
        return false;
    out->vectors = (int)f.vectors;
    for (int i = 0; i < f.names.count; i++)
        out->widths[i] = (int)f.widths[i];
    int64_t step = checkpoint_integer(cp, "step", -1);
    out->step = step >= 0 && step <= INT32_MAX ? (int)step : -1;
    copy_text(cp, "sd_checkpoint", out->checkpoint, sizeof out->checkpoint);
    copy_text(cp, "sd_checkpoint_name", out->checkpoint_name, sizeof out->checkpoint_name);
    return true;
}

bool embedding_read(const struct checkpoint *cp, const struct pictor_embedding_info *info,
                    float *const at[EMBEDDING_ENCODERS], struct err *err)
{
    struct found f;
    if (!find(cp, &f, err))
        return false;
    for (int i = 0; i < f.names.count; i++) {
        size_t count = f.vectors * f.widths[i];
        if ((int)f.vectors != info->vectors || (int)f.widths[i] != info->widths[i])
            return err_set(err, ERR_INVALID, "it is another file than it was");
        raw_tensor_floats(&f.at[i], 0, count, at[i]);
        for (size_t k = 0; k < count; k++)
            if (!isfinite(at[i][k]))
                return err_set(err, ERR_INVALID, "number %zu of %s is none: wanted finite ones", k,
                               f.names.count > 1 ? f.names.at[i] : "its vectors");
    }
    return true;
}

bool pictor_embedding_fits(const struct pictor_embedding_info *e, const struct pictor_model_info *m)
{
    return e->vectors > 0 && e->widths[0] == m->text_widths[0] && e->widths[1] == m->text_widths[1];
}
