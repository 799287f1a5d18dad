#include "engine/io/scaled.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_ROOM 288
#define GROUP 256 /* that are turned together, unless it is said */
#define FOURS 16  /* numbers a scale: NVFP4's */
#define EIGHTS 32 /* the same of MXFP8 */

/* A weight and what stands beside it; NULL: it does not. */
struct found {
    struct raw_tensor *weight;
    const struct raw_tensor *scale, *second, *said, *before;
    char format[64]; /* "": none is said */
    size_t group;
    size_t rows, width; /* width 0: it has no rows of a size */
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static bool is_bytes(const struct raw_tensor *t)
{
    return t->dtype == DTYPE_OTHER && t->bytes == raw_tensor_count(t);
}

static bool is_numbers(const struct raw_tensor *t)
{
    return t->dtype == DTYPE_F32 || t->dtype == DTYPE_F16 || t->dtype == DTYPE_BF16;
}

/* The JSON of comfy_quant. */
static void read_said(struct found *f)
{
    char json[512];
    struct err unread;
    if (!f->said || f->said->bytes >= sizeof json || !raw_tensor_read(f->said, json, &unread))
        return;
    json[f->said->bytes] = '\0';
    cJSON *said = cJSON_Parse(json);
    const char *format = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(said, "format"));
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(said, "convrot_groupsize");
    if (format)
        raw_tensor_show(f->format, sizeof f->format, format);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(said, "convrot"))) {
        double n = cJSON_IsNumber(size) ? size->valuedouble : GROUP;
        f->group = n >= 1 && n <= 2 * DTYPE_SCALES_GROUP ? (size_t)n : 1;
    }
    cJSON_Delete(said);
}

static const struct raw_tensor *beside(const struct raw_tensor *tensors, size_t count,
                                       const char *weight, const char *what)
{
    char name[NAME_ROOM];
    int stem = (int)(strlen(weight) - strlen("weight"));
    int n = snprintf(name, sizeof name, "%.*s%s", stem, weight, what);
    return n > 0 && (size_t)n < sizeof name ? raw_tensor_find(tensors, count, name) : NULL;
}

static bool look(struct raw_tensor *tensors, size_t count, size_t i, struct found *f)
{
    struct raw_tensor *t = &tensors[i];
    if (!ends_with(t->name, ".weight"))
        return false;
    *f = (struct found){.weight = t};
    f->scale = beside(tensors, count, t->name, "weight_scale");
    if (!f->scale)
        f->scale = beside(tensors, count, t->name, "scale_weight");
    f->second = beside(tensors, count, t->name, "weight_scale_2");
    f->said = beside(tensors, count, t->name, "comfy_quant");
    f->before = beside(tensors, count, t->name, "pre_quant_scale");
    if (!f->scale && !f->second && !f->said)
        return false;
    read_said(f);
    f->rows = t->ndim > 0 ? t->shape[0] : 0;
    f->width = f->rows ? raw_tensor_count(t) / f->rows : 0;
    return true;
}

/* ---- what is refused ---- */

static bool refuse_format(const struct found *f, struct err *err)
{
    char shown[96];
    return err_set(err, ERR_UNSUPPORTED,
                   "tensor %s is in a format that is not read%s%s: wanted BF16, F16, F32, F8 "
                   "(float8_e4m3fn, float8_e5m2, mxfp8), int8 (int8_tensorwise), nvfp4, or GGUF",
                   raw_tensor_show(shown, sizeof shown, f->weight->name), *f->format ? ": " : "",
                   f->format);
}

static bool refuse_scale(const struct found *f, const char *wanted, struct err *err)
{
    char shown[96], have[64];
    const struct raw_tensor *t = f->scale ? f->scale : f->weight;
    return err_set(err, ERR_UNSUPPORTED, "tensor %s: wanted %s, found %s of %s%s%s",
                   raw_tensor_show(shown, sizeof shown, t->name), wanted,
                   f->scale ? dtype_name(t->dtype) : "no scale",
                   f->scale ? raw_tensor_shape(have, sizeof have, t->ndim, t->shape) : "it",
                   *f->format ? "; the format is " : "", f->format);
}

static bool is_format(const struct found *f, const char *a, const char *b)
{
    return !*f->format || strcmp(f->format, a) == 0 || (b && strcmp(f->format, b) == 0);
}

/* ---- what is read ---- */

static struct dtype_scales *new_scales(struct scaled *s, const struct found *f)
{
    struct dtype_scales *d = &s->at[s->count++];
    *d = (struct dtype_scales){.width = f->width, .all = 1};
    f->weight->scales = d;
    return d;
}

/* One number; of headers it is what it is. */
static bool one_number(const struct raw_tensor *t, float *out)
{
    if (!is_numbers(t) || raw_tensor_count(t) != 1)
        return false;
    if (!t->data)
        return true;
    raw_tensor_floats(t, 0, 1, out);
    return isfinite(*out) && *out != 0;
}

static bool all_finite(const struct raw_tensor *t)
{
    size_t n = t->data ? raw_tensor_count(t) : 0;
    float some[64];
    for (size_t i = 0; i < n; i += 64) {
        size_t count = n - i < 64 ? n - i : 64;
        raw_tensor_floats(t, i, count, some);
        for (size_t k = 0; k < count; k++)
            if (!isfinite(some[k]))
                return false;
    }
    return true;
}

/* One scale for all, or one a row. */
static bool read_rows(struct scaled *s, const struct found *f, struct err *err)
{
    float one = 0;
    const struct raw_tensor *t = f->scale;
    bool turned = f->group > 0;
    if (turned && (f->group < 4 || f->group > DTYPE_SCALES_GROUP || (f->group & (f->group - 1)) ||
                   (f->group & 0x55555555) == 0 || f->width % f->group))
        return refuse_scale(f, "rows turned by 4, 16, 64, 256 or 1024 numbers that divide them",
                            err);
    if (t && one_number(t, &one) && !turned) {
        f->weight->scale = one;
        return true;
    }
    bool rows = t && is_numbers(t) && t->ndim >= 1 && t->shape[0] == f->rows &&
                raw_tensor_count(t) == f->rows && f->width && all_finite(t);
    if (!rows && !(t && one_number(t, &one)))
        return refuse_scale(f, "one finite number that all weights are times, or one for each row",
                            err);
    struct dtype_scales *d = new_scales(s, f);
    d->group = f->group;
    if (!rows)
        d->all = one;
    d->rows = rows ? t->data : NULL;
    d->row_dtype = t->dtype;
    return true;
}

static bool read_blocks(struct scaled *s, const struct found *f, size_t block, struct err *err)
{
    const struct raw_tensor *t = f->scale;
    bool powers = block == EIGHTS;
    bool fits = t && f->weight->ndim == 2 && f->width % block == 0 && f->width > 0 &&
                (powers ? is_bytes(t) : t->dtype == DTYPE_F8_E4M3) &&
                t->bytes == dtype_scales_bytes(f->rows, f->width, block);
    if (!fits)
        return refuse_scale(f,
                            powers ? "a byte for each 32 weights, in tiles of 128 x 4"
                                   : "an F8_E4M3 for each 16 weights, in tiles of 128 x 4",
                            err);
    struct dtype_scales *d = new_scales(s, f);
    d->blocks = t->data;
    d->block = block;
    d->powers = powers;
    return true;
}

static bool read_fours(struct scaled *s, struct found *f, struct err *err)
{
    struct raw_tensor *t = f->weight;
    float all = 1;
    if (t->ndim != 2 || !f->second || !one_number(f->second, &all) ||
        __builtin_mul_overflow(t->shape[1], (size_t)2, &f->width))
        return refuse_format(f, err);
    if (!read_blocks(s, f, FOURS, err))
        return false;
    s->at[s->count - 1].all = all;
    t->dtype = DTYPE_F4_E2M1;
    t->shape[1] = f->width;
    return true;
}

static bool read_weight(struct scaled *s, struct found *f, struct err *err)
{
    struct raw_tensor *t = f->weight;
    bool eight = t->dtype == DTYPE_F8_E4M3 || t->dtype == DTYPE_F8_E5M2;
    if (f->before)
        return err_set(err, ERR_UNSUPPORTED,
                       "tensor %.96s: what a layer takes in is not scaled before its weights of "
                       "few bits (\"pre_quant_scale\")",
                       t->name);
    if ((f->group && !t->i8) || (f->second && (t->i8 || !is_bytes(t))))
        return refuse_format(f, err);
    if (eight && ((f->scale && is_bytes(f->scale)) || strcmp(f->format, "mxfp8") == 0))
        return is_format(f, "mxfp8", NULL) ? read_blocks(s, f, EIGHTS, err) : refuse_format(f, err);
    if (eight)
        return !is_format(f, "float8_e4m3fn", "float8_e5m2") ? refuse_format(f, err)
               : f->scale                                    ? read_rows(s, f, err)
                                                             : true;
    if (t->i8 && is_format(f, "int8_tensorwise", NULL)) {
        t->dtype = DTYPE_I8;
        return read_rows(s, f, err);
    }
    if (is_bytes(t) && !t->i8 && is_format(f, "nvfp4", NULL))
        return read_fours(s, f, err);
    if (t->dtype == DTYPE_OTHER)
        return refuse_format(f, err);
    return !f->scale || read_rows(s, f, err);
}

bool scaled_read(struct scaled *s, struct raw_tensor *tensors, size_t count, struct err *err)
{
    struct found f;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += look(tensors, count, i, &f);
    if (n && !(s->at = calloc(n, sizeof *s->at)))
        return err_set(err, ERR_INTERNAL, "out of memory for the scales of %zu tensors", n);
    for (size_t i = 0; n && i < count; i++)
        if (look(tensors, count, i, &f) && !read_weight(s, &f, err))
            return false;
    return true;
}

void scaled_free(struct scaled *s)
{
    free(s->at);
    *s = (struct scaled){0};
}
