/* checkpoint.c: Opening makes one table, in order of LDM names, over the tensors of all files;
 * whatever layout they came in is forgotten then. */
#include "engine/io/checkpoint.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/scaled.h"
#include "engine/io/tensor_file.h"
#include "engine/pictor.h"

#define NAME_ROOM 256
#define JSON_ROOM 65536 /* bytes of a folder's JSON; published ones have 2000 */

struct file {
    enum names_part part;
    int set; /* which files are one, in shards */
    struct names_layout layout;
    struct tensor_file *tf;
    cJSON *said; /* of its weights of few bits, in its metadata; or NULL */
};

struct checkpoint {
    struct file files[PICTOR_FILES_MAX];
    int file_count;
    struct raw_tensor *tensors; /* in order of name; they own their names */
    size_t count;
    struct scaled scaled;
    char **said; /* what was said of each of these weights */
    size_t said_count;
    cJSON *scheduler, *config, *pipeline; /* of a folder, or NULL */
    struct file_bytes tokenizer;          /* size 0: there is none */
    struct tensor_file *words;            /* one that is a GGUF, or NULL */
    enum pictor_variant variant;
    char name[sizeof((struct pictor_file *)NULL)->name]; /* checkpoint_name */
};

/* ---- opening ---- */

static bool add(struct checkpoint *cp, const struct raw_tensor *t, const char *name,
                struct err *err)
{
    char *copy = strdup(name);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "out of memory for tensor names");
    cp->tensors[cp->count] = *t;
    cp->tensors[cp->count++].name = copy;
    return true;
}

/* Whether the tensor of a whole file is one of a network that is given by itself. */
static bool is_replaced(const struct checkpoint *cp, const char *ldm_name)
{
    for (int i = 0; i < cp->file_count; i++) {
        const char *prefix = names_layout_prefix(&cp->files[i].layout, cp->files[i].part);
        if (*prefix && !cp->files[i].layout.tiny && strncmp(ldm_name, prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

/* Of a network that is given twice the later file counts. A tiny autoencoder stands beside a VAE.
 */
static bool is_outdone(const struct checkpoint *cp, const struct file *file)
{
    for (const struct file *f = file + 1; f < cp->files + cp->file_count; f++)
        if (f->part == file->part && f->set != file->set && file->part != NAMES_WHOLE &&
            f->layout.tiny == file->layout.tiny && f->layout.t5 == file->layout.t5)
            return true;
    return false;
}

/* A name too long for NAME_ROOM is none that a model has: such a tensor is left out. */
static bool index_file(struct checkpoint *cp, const struct file *file, struct err *err)
{
    if (is_outdone(cp, file))
        return true;
    for (size_t i = 0; i < tensor_file_count(file->tf); i++) {
        char name[NAME_ROOM];
        const struct raw_tensor *t = tensor_file_at(file->tf, i);
        if (!names_to_ldm(&file->layout, file->part, t->name, name, sizeof name) ||
            (file->part == NAMES_WHOLE && is_replaced(cp, name)))
            continue;
        if (!add(cp, t, name, err))
            return false;
    }
    return true;
}

/* What ComfyUI may say in a file's metadata instead of beside each weight, {"layers": {"X":
 * {"format": "nvfp4"}}}, becomes a tensor "X.comfy_quant". */
static bool index_said(struct checkpoint *cp, const struct file *file, struct err *err)
{
    const cJSON *layer, *layers = cJSON_GetObjectItemCaseSensitive(file->said, "layers");
    bool ok = true;
    cJSON_ArrayForEach(layer, layers) {
        char beside[NAME_ROOM], name[NAME_ROOM];
        int n = snprintf(beside, sizeof beside, "%s.comfy_quant", layer->string);
        if (n < 0 || (size_t)n >= sizeof beside || tensor_file_find(file->tf, beside) ||
            !names_to_ldm(&file->layout, file->part, beside, name, sizeof name) ||
            (file->part == NAMES_WHOLE && is_replaced(cp, name)))
            continue;
        struct raw_tensor t = {
            .dtype = DTYPE_OTHER, .ndim = 1, .data = cJSON_PrintUnformatted(layer)};
        if (!t.data)
            return err_set(err, ERR_INTERNAL, "out of memory for tensor names");
        t.bytes = t.shape[0] = strlen(t.data);
        cp->said[cp->said_count++] = (char *)t.data;
        ok = ok && add(cp, &t, name, err);
    }
    return ok;
}

static void scan(struct names_layout *layout, const struct file *file)
{
    for (size_t i = 0; i < tensor_file_count(file->tf); i++)
        names_scan(layout, file->part, tensor_file_at(file->tf, i)->name);
}

static size_t said_layers(const struct file *f)
{
    int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(f->said, "layers"));
    return n > 0 ? (size_t)n : 0;
}

static bool index_files(struct checkpoint *cp, struct err *err)
{
    size_t room = 1, layers = 1;
    for (int i = 0; i < cp->file_count; i++) {
        struct file *f = &cp->files[i];
        const char *said = tensor_file_metadata(f->tf, "_quantization_metadata");
        f->said = said ? cJSON_Parse(said) : NULL;
        layers += said_layers(f);
        room += tensor_file_count(f->tf);
    }
    room += layers;
    for (int i = 0; i < cp->file_count; i++)
        for (int j = 0; j < cp->file_count; j++)
            if (cp->files[j].set == cp->files[i].set)
                scan(&cp->files[i].layout, &cp->files[j]);
    cp->tensors = calloc(room, sizeof *cp->tensors);
    cp->said = calloc(layers, sizeof *cp->said);
    if (!cp->tensors || !cp->said)
        return err_set(err, ERR_INTERNAL, "out of memory for %zu tensors", room);
    for (int i = 0; i < cp->file_count; i++)
        if (!index_file(cp, &cp->files[i], err) || !index_said(cp, &cp->files[i], err))
            return false;
    return raw_tensor_sort(cp->tensors, cp->count, err) &&
           scaled_read(&cp->scaled, cp->tensors, cp->count, err);
}

/* Takes `tf`, which may be NULL: then it could not be opened, and `err` is set. */
static bool add_file(struct checkpoint *cp, enum names_part part, struct tensor_file *tf)
{
    if (!tf)
        return false;
    cp->files[cp->file_count] = (struct file){.part = part, .set = cp->file_count, .tf = tf};
    cp->file_count++;
    return true;
}

/* "NAME-00002-of-00003.safetensors" behind "NAME-00001-of-00003.safetensors". */
static bool is_next_shard(const char *before, const char *name)
{
    const char *of = strstr(name, "-of-");
    size_t at = of ? (size_t)(of - name) : 0, digits = 0;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9') {
        at--;
        digits++;
    }
    return digits && strlen(before) == strlen(name) && strncmp(before, name, at) == 0 &&
           strcmp(before + at + digits, name + at + digits) == 0;
}

typedef struct tensor_file *open_fn(int fd, const char *name, struct err *err);

/* Mapped where the weights are: a sandboxed process may read in no other way. */
static bool read_text(int fd, char *text, size_t size, open_fn *open, struct err *err)
{
    if (open == tensor_file_open_header)
        return raw_tensor_read_at(fd, 0, text, size, err);
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_set(err, ERR_IO, "cannot map %zu bytes", size);
    memcpy(text, data, size);
    munmap(data, size);
    return true;
}

/* What else a folder says: how its network was trained, and how it is made. */
static bool read_json(cJSON **out, const struct pictor_file *file, open_fn *open, struct err *err)
{
    char text[JSON_ROOM];
    off_t size = lseek(file->fd, 0, SEEK_END);
    if (size > 0 && size < (off_t)sizeof text) {
        if (!read_text(file->fd, text, (size_t)size, open, err))
            return err_prefix(err, "%s", file->name);
        text[size] = '\0';
        cJSON_Delete(*out);
        *out = cJSON_Parse(text);
    }
    return cJSON_IsObject(*out) ||
           err_set(err, ERR_INVALID, "%s: wanted JSON of less than %d bytes", file->name,
                   JSON_ROOM);
}

/* A GGUF is read for its header alone. */
static bool read_tokenizer(struct checkpoint *cp, const struct pictor_file *file, open_fn *open,
                           struct err *err)
{
    static const char gguf[4] = "GGUF";
    char magic[4];
    file_bytes_close(&cp->tokenizer);
    tensor_file_close(cp->words);
    cp->words = NULL;
    if (!(open == tensor_file_open_header ? file_bytes_unmapped(&cp->tokenizer, file->fd, err)
                                          : file_bytes_map(&cp->tokenizer, file->fd, err)))
        return err_prefix(err, "%s", file->name);
    if (cp->tokenizer.size < sizeof magic ||
        !file_bytes_read(&cp->tokenizer, 0, magic, sizeof magic, err) ||
        memcmp(magic, gguf, sizeof gguf) != 0)
        return true;
    file_bytes_close(&cp->tokenizer);
    return (cp->words = open(file->fd, file->name, err));
}

/* What a file of the list is, by the folder in its name; see pictor_files_add. */
static bool add_listed(struct checkpoint *cp, const struct pictor_file *file, open_fn *open,
                       struct err *err)
{
    size_t n = strcspn(file->name, "/");
    const char *network;
    int part = 0;
    if (!file->name[n])
        return add_file(cp, NAMES_WHOLE, open(file->fd, NULL, err));
    if (n == strlen("scheduler") && strncmp(file->name, "scheduler", n) == 0)
        return read_json(&cp->scheduler, file, open, err);
    if (n == strlen("pipeline") && strncmp(file->name, "pipeline", n) == 0)
        return read_json(&cp->pipeline, file, open, err);
    if (n == strlen("tokenizer") && strncmp(file->name, "tokenizer", n) == 0)
        return read_tokenizer(cp, file, open, err);
    if (n == strlen("config") && strncmp(file->name, "config", n) == 0)
        return read_json(&cp->config, file, open, err);
    while ((network = names_folder(part)) &&
           (strlen(network) != n || strncmp(file->name, network, n) != 0))
        part++;
    if (!network)
        return err_set(err, ERR_INVALID, "%s: no part of a model", file->name);
    /* Without a name of its own it is its caller who says which file it is. */
    return add_file(cp, part, open(file->fd, file->name[n + 1] ? file->name : NULL, err));
}

static struct checkpoint *new_checkpoint(struct err *err)
{
    struct checkpoint *cp = calloc(1, sizeof *cp);
    if (!cp)
        err_set(err, ERR_INTERNAL, "out of memory");
    return cp;
}

/* `cp` if `ok`; else frees it. */
static struct checkpoint *checked(struct checkpoint *cp, bool ok)
{
    if (ok)
        return cp;
    checkpoint_free(cp);
    return NULL;
}

static struct checkpoint *open_files(const struct pictor_files *files, open_fn *open,
                                     struct err *err)
{
    struct checkpoint *cp = new_checkpoint(err);
    bool ok = cp;
    if (cp)
        cp->variant = files->variant;
    for (size_t i = 0; ok && i < files->count; i++) {
        const char *name = files->items[i].name;
        int before = cp->file_count;
        if (!strchr(name, '/'))
            snprintf(cp->name, sizeof cp->name, "%s", name);
        else if (strncmp(name, "unet/", 5) == 0 && !*cp->name)
            snprintf(cp->name, sizeof cp->name, "%s", name + 5);
        ok = add_listed(cp, &files->items[i], open, err);
        bool added = ok && cp->file_count > before; /* a vocabulary is no file of tensors */
        if (added && before > 0 && is_next_shard(files->items[i - 1].name, name))
            cp->files[cp->file_count - 1].set = cp->files[cp->file_count - 2].set;
    }
    if (ok && cp->file_count == 0)
        ok = err_set(err, ERR_INVALID, "a model of no file");
    /* Of a folder, whose files are called as all are. */
    if (ok && (cp->scheduler || cp->config || cp->pipeline))
        *cp->name = '\0';
    return checked(cp, ok && index_files(cp, err));
}

struct checkpoint *checkpoint_open_files(const struct pictor_files *files, struct err *err)
{
    return open_files(files, tensor_file_open_fd, err);
}

struct checkpoint *checkpoint_open_headers(const struct pictor_files *files, struct err *err)
{
    return open_files(files, tensor_file_open_header, err);
}

struct checkpoint *checkpoint_open(const char *path, struct err *err)
{
    struct pictor_files files;
    if (!pictor_files_open(path, &files, err))
        return NULL;
    struct checkpoint *cp = checkpoint_open_files(&files, err);
    pictor_files_close(&files);
    return cp;
}

struct checkpoint *checkpoint_open_memory(const void *data, size_t size, struct err *err)
{
    struct checkpoint *cp = new_checkpoint(err);
    return checked(cp, cp && add_file(cp, NAMES_WHOLE, tensor_file_open_memory(data, size, err)) &&
                           index_files(cp, err));
}

void checkpoint_free(struct checkpoint *cp)
{
    if (!cp)
        return;
    for (size_t i = 0; i < cp->count; i++)
        free((char *)cp->tensors[i].name);
    free(cp->tensors);
    scaled_free(&cp->scaled);
    for (size_t i = 0; i < cp->said_count; i++)
        cJSON_free(cp->said[i]);
    free(cp->said);
    for (int i = 0; i < cp->file_count; i++) {
        tensor_file_close(cp->files[i].tf);
        cJSON_Delete(cp->files[i].said);
    }
    file_bytes_close(&cp->tokenizer);
    tensor_file_close(cp->words);
    cJSON_Delete(cp->scheduler);
    cJSON_Delete(cp->config);
    cJSON_Delete(cp->pipeline);
    free(cp);
}

void checkpoint_release(const struct checkpoint *cp, const struct raw_tensor *t)
{
    for (int i = 0; i < cp->file_count; i++)
        tensor_file_release(cp->files[i].tf, t->data, t->bytes);
}

/* ---- looking up ---- */

const struct raw_tensor *checkpoint_find(const struct checkpoint *cp, const char *ldm_name)
{
    return raw_tensor_find(cp->tensors, cp->count, ldm_name);
}

bool checkpoint_get(const struct checkpoint *cp, const char *ldm_name, int ndim,
                    const size_t *shape, struct raw_tensor *out, struct err *err)
{
    char want[64], have[64];
    raw_tensor_shape(want, sizeof want, ndim, shape);
    const struct raw_tensor *t = checkpoint_find(cp, ldm_name);
    if (!t)
        return err_set(err, ERR_INVALID, "tensor %s: wanted %s, but the file has none of that name",
                       ldm_name, want);
    *out = *t;
    if (ndim == 4 && t->ndim == 2) { /* a linear layer for a 1x1 convolution */
        out->ndim = 4;
        out->shape[2] = out->shape[3] = 1;
    } else if (ndim == 2 && t->ndim == 4 && t->shape[2] == t->shape[3] && t->shape[2] <= 2) {
        out->ndim = 2;
        out->shape[1] = t->shape[1] * t->shape[2] * t->shape[3];
    }
    bool fits = out->ndim == ndim;
    for (int i = 0; i < ndim && fits; i++)
        fits = shape[i] == 0 || shape[i] == out->shape[i];
    if (!fits)
        return err_set(err, ERR_INVALID, "tensor %s: wanted %s, found %s", ldm_name, want,
                       raw_tensor_shape(have, sizeof have, t->ndim, t->shape));
    if (t->dtype == DTYPE_OTHER)
        return err_set(err, ERR_UNSUPPORTED,
                       "tensor %s: wanted F32, F16, BF16 or F8 numbers (or GGML's), found another "
                       "kind",
                       ldm_name);
    return true;
}

const char *checkpoint_name(const struct checkpoint *cp)
{
    return cp->name;
}

const char *checkpoint_metadata(const struct checkpoint *cp, const char *key)
{
    return tensor_file_metadata(cp->files[0].tf, key);
}

enum pictor_variant checkpoint_variant(const struct checkpoint *cp)
{
    return cp->variant;
}

int64_t checkpoint_integer(const struct checkpoint *cp, const char *key, int64_t otherwise)
{
    return tensor_file_integer(cp->files[0].tf, key, otherwise);
}

const char *checkpoint_scheduler(const struct checkpoint *cp, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cp->scheduler, key));
}

bool checkpoint_scheduler_is(const struct checkpoint *cp, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(cp->scheduler, key));
}

bool checkpoint_scheduler_denies(const struct checkpoint *cp, const char *key)
{
    return cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(cp->scheduler, key));
}

static double number_of(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item ? cJSON_GetNumberValue(item) : otherwise;
}

double checkpoint_scheduler_number(const struct checkpoint *cp, const char *key, double otherwise)
{
    return number_of(cp->scheduler, key, otherwise);
}

const struct file_bytes *checkpoint_tokenizer(const struct checkpoint *cp)
{
    return cp->tokenizer.size ? &cp->tokenizer : NULL;
}

/* The file that has an array; NULL: none. */
static const struct tensor_file *file_with(const struct checkpoint *cp, const char *key)
{
    for (int i = 0; i < cp->file_count; i++)
        if (tensor_file_has_array(cp->files[i].tf, key))
            return cp->files[i].tf;
    return cp->words && tensor_file_has_array(cp->words, key) ? cp->words : NULL;
}

bool checkpoint_has_array(const struct checkpoint *cp, const char *key)
{
    return file_with(cp, key);
}

bool checkpoint_array(const struct checkpoint *cp, const char *key, struct gguf_array *out,
                      void **copy, struct err *err)
{
    const struct tensor_file *tf = file_with(cp, key);
    *copy = NULL;
    return tf ? tensor_file_array(tf, key, out, copy, err)
              : err_set(err, ERR_NOT_FOUND, "no file has a list \"%.100s\"", key);
}

bool checkpoint_has_pipeline(const struct checkpoint *cp)
{
    return cp->pipeline;
}

bool checkpoint_pipeline_is(const struct checkpoint *cp, const char *key, bool otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cp->pipeline, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

const char *checkpoint_pipeline_text(const struct checkpoint *cp, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cp->pipeline, key));
}

bool checkpoint_is_configured(const struct checkpoint *cp)
{
    return cp->config;
}

const char *checkpoint_config_text(const struct checkpoint *cp, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cp->config, key));
}

bool checkpoint_config_is(const struct checkpoint *cp, const char *key, bool otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cp->config, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

double checkpoint_config_number(const struct checkpoint *cp, const char *key, double otherwise)
{
    return number_of(cp->config, key, otherwise);
}

const struct raw_tensor *checkpoint_findf(const struct checkpoint *cp, const char *fmt, ...)
{
    char name[NAME_ROOM];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return checkpoint_find(cp, name);
}

size_t checkpoint_count(const struct checkpoint *cp)
{
    return cp->count;
}

const struct raw_tensor *checkpoint_at(const struct checkpoint *cp, size_t i)
{
    return &cp->tensors[i];
}

bool checkpoint_has(const struct checkpoint *cp, const char *prefix)
{
    for (size_t i = 0; i < cp->count; i++)
        if (strncmp(cp->tensors[i].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

bool checkpoint_sizes(const struct checkpoint *cp, const char *ldm_name, int ndim, int *out,
                      struct err *err)
{
    static const size_t any[RAW_TENSOR_DIMS];
    struct raw_tensor t;
    if (!checkpoint_get(cp, ldm_name, ndim, any, &t, err))
        return false;
    for (int i = 0; i < ndim; i++) {
        if (t.shape[i] < 1 || t.shape[i] > CHECKPOINT_SIZE_LIMIT)
            return err_set(err, ERR_INVALID, "tensor %s: wanted sizes of 1..%d, found %zu",
                           ldm_name, CHECKPOINT_SIZE_LIMIT, t.shape[i]);
        out[i] = (int)t.shape[i];
    }
    return true;
}
