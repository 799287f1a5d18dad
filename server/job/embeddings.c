/* embeddings.c: Which names a prompt has, only the engine's tokenizer can say; so it is asked with
 * the names of all files that fit, and once more with those of the others, to tell what is left
 * out. */
#include "server/job/embeddings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "engine/io/raw_tensor.h"
#include "server/base/json_text.h"
#include "server/job/intake.h"
#include "server/job/job.h"

#define FILE_MOST ((off_t)64 << 20) /* bytes; the largest that fits a model has under 1 MB */
#define HASH_DIGITS 12              /* that the SD WebUI's infotexts have */

bool embeddings_fit(const struct pictor_embedding_info *info, const int text_widths[2],
                    char why[160])
{
    const struct pictor_model_info model = {.text_widths = {text_widths[0], text_widths[1]}};
    if ((!text_widths[0] && !text_widths[1]) || pictor_embedding_fits(info, &model))
        return true;
    char has[32], wants[32];
    snprintf(has, sizeof has, info->widths[1] ? "%d and %d" : "%d", info->widths[0],
             info->widths[1]);
    snprintf(wants, sizeof wants, text_widths[1] ? "%d and %d" : "%d", text_widths[0],
             text_widths[1]);
    snprintf(why, 160, "its vectors have %s numbers, the model takes %s", has, wants);
    return false;
}

/* ---- what each file is ---- */

/* A file that some prompt may name. */
struct candidate {
    const struct registry_model *file;
    int vectors;   /* 1 of those that are left out or broken */
    bool broken;   /* `why` says what is wrong */
    char why[160]; /* not "": it is left out, or broken */
};

static void judge(const struct registry_entry *e, const int text_widths[2], struct candidate *out)
{
    const struct registry_model *m = &e->model;
    struct pictor_file_info info = {.kind = m->holds, .readable = m->fault == ERR_NONE};
    struct err why;
    snprintf(why.msg, sizeof why.msg, "%s", m->problem);
    info.embedding = m->embedding;
    if (!e->was_read && pictor_file_probe(m->path, &info, &why))
        why.msg[0] = '\0';
    *out = (struct candidate){.file = m, .vectors = 1};
    if (info.kind != PICTOR_KIND_EMBEDDING && info.kind != PICTOR_KIND_UNKNOWN) {
        snprintf(out->why, sizeof out->why, "it is a file of kind %s", pictor_kind_name(info.kind));
    } else if (info.embedding.vectors <= 0) {
        out->broken = true;
        snprintf(out->why, sizeof out->why, "%.150s",
                 *why.msg ? why.msg : "there are no vectors in it");
    } else if (embeddings_fit(&info.embedding, text_widths, out->why)) {
        out->vectors = info.embedding.vectors;
    }
    json_text_mend(out->why);
}

/* ---- names in prompts ---- */

/* Whether some prompt has the first word of a name, in any case of letters. Without it none has the
 * name, and of thousands of names this leaves few for the tokenizer. */
static bool may_be_named(const char *name, const struct job_params *p)
{
    const char *const texts[] = {p->prompt, p->negative_prompt, p->hires_prompt,
                                 p->hires_negative_prompt};
    const char *slash = strrchr(name, '/');
    char word[64];
    name = slash ? slash + 1 : name;
    size_t from = 0, n = 0;
    while (name[from] && !isalpha((unsigned char)name[from]))
        from++;
    while (n < sizeof word - 1 && isalpha((unsigned char)name[from + n])) {
        word[n] = name[from + n];
        n++;
    }
    word[n] = '\0';
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (n == 0 || (texts[i] && strcasestr(texts[i], word)))
            return true;
    return false;
}

void embeddings_list_free(struct embeddings_list *list)
{
    free(list->at);
    *list = (struct embeddings_list){.at = NULL};
}

static bool add(struct embeddings_list *list, const struct candidate *c, struct err *err)
{
    struct embeddings_named *at = realloc(list->at, (list->count + 1) * sizeof *at);
    if (!at)
        return err_set(err, ERR_INTERNAL, "no memory for a list of embeddings");
    list->at = at;
    at += list->count++;
    snprintf(at->name, sizeof at->name, "%s", c->file->name);
    snprintf(at->path, sizeof at->path, "%s", c->file->path);
    snprintf(at->why, sizeof at->why, "%s", c->why);
    return true;
}

/* Those of the candidates that the prompts name: the ones that fit, or the others. */
static bool find_names(const struct candidate *all, size_t count, bool fitting,
                       const struct job_params *p, struct embeddings_list *out, const char **param,
                       struct err *err)
{
    struct pictor_word *words = calloc(count, sizeof *words);
    size_t *index = calloc(count, sizeof *index), n = 0, before = out->count;
    bool ok = (words && index) || err_set(err, ERR_INTERNAL, "no memory for %zu names", count);
    for (size_t i = 0; ok && i < count; i++)
        if (fitting == !*all[i].why) {
            words[n] = (struct pictor_word){.name = all[i].file->name, .vectors = all[i].vectors};
            index[n++] = i;
        }
    ok = ok && (n == 0 || intake_words(p, words, n, param, err));
    for (size_t i = 0; ok && i < n; i++) {
        const struct candidate *c = &all[index[i]];
        if (!words[i].used)
            continue;
        if (c->broken) {
            *param = "prompt";
            ok = err_set(err, ERR_INVALID, "embedding %.60s: %s", c->file->name, c->why);
        } else {
            ok = add(out, c, err);
        }
    }
    if (ok && fitting && out->count - before > PICTOR_EMBEDDINGS_MAX) {
        *param = "prompt";
        ok = err_set(err, ERR_INVALID, "the prompts name %zu embeddings: wanted at most %d",
                     out->count - before, PICTOR_EMBEDDINGS_MAX);
    }
    free(words);
    free(index);
    return ok;
}

/* The files that the prompts may name; malloc'd, they borrow from `table` (registry_scan_free). */
static bool list_candidates(struct files *f, const int text_widths[2], const struct job_params *p,
                            struct registry_table *table, struct candidate **all, size_t *count,
                            struct err *err)
{
    struct err why;
    *count = 0;
    *all = NULL;
    if (!files_list(f, table, &why)) {
        log_err(LOG_WARN, "embeddings_not_read", &why, " ");
        *table = (struct registry_table){0};
        return true;
    }
    *all = calloc(table->count + 1, sizeof **all);
    if (!*all)
        return err_set(err, ERR_INTERNAL, "no memory for %zu names", table->count);
    for (size_t i = 0; i < table->count; i++)
        if (table->entries[i].same == i && may_be_named(table->entries[i].model.name, p))
            judge(&table->entries[i], text_widths, &(*all)[(*count)++]);
    return true;
}

bool embeddings_measure(struct files *f, const int text_widths[2], const struct job_params *p,
                        bool negative, struct pictor_prompt_size *out, struct err *err)
{
    struct registry_table table;
    struct candidate *all;
    struct pictor_word *words = NULL;
    size_t count, n = 0;
    bool ok = list_candidates(f, text_widths, p, &table, &all, &count, err);
    if (ok && !(words = calloc(count + 1, sizeof *words)))
        ok = err_set(err, ERR_INTERNAL, "no memory for %zu names", count);
    for (size_t i = 0; ok && i < count; i++)
        if (!*all[i].why)
            words[n++] = (struct pictor_word){.name = all[i].file->name, .vectors = all[i].vectors};
    ok = ok && intake_measure(p, negative, words, n, out, err);
    free(words);
    free(all);
    registry_scan_free(&table);
    return ok;
}

bool embeddings_find(struct files *f, const int text_widths[2], const struct job_params *p,
                     struct embeddings_list *out, const char **param, struct err *err)
{
    struct registry_table table;
    struct candidate *all;
    const char *wrong = NULL;
    size_t count;
    *out = (struct embeddings_list){.at = NULL};
    bool ok = list_candidates(f, text_widths, p, &table, &all, &count, err);
    ok = ok && (count == 0 || (find_names(all, count, true, p, out, &wrong, err) &&
                               find_names(all, count, false, p, out, &wrong, err)));
    free(all);
    registry_scan_free(&table);
    if (!ok)
        embeddings_list_free(out);
    if (wrong && param)
        *param = wrong;
    return ok;
}

/* ---- open files ---- */

static bool hash_file(int fd, size_t size, char hex[SHA256_HEX_SIZE], struct err *err)
{
    unsigned char digest[SHA256_SIZE], *bytes = malloc(size + 1);
    bool ok = bytes ? raw_tensor_read_at(fd, 0, bytes, size, err) &&
                          sha256_bytes(bytes, size, digest, err)
                    : err_set(err, ERR_INTERNAL, "no memory for %zu bytes", size);
    if (ok)
        sha256_hex(digest, hex);
    free(bytes);
    return ok;
}

static bool open_file(const struct embeddings_named *named, struct embedding_file *out,
                      char hex[SHA256_HEX_SIZE], struct err *err)
{
    struct stat st;
    struct registry_entry now = {0};
    int fd = open(named->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_at(err, named->path, errno == EMFILE || errno == ENFILE ? ERR_BUSY : ERR_IO, "%s",
               strerror(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MOST) {
        err_at(err, named->path, ERR_INVALID, "wanted a file of at most %lld MiB",
               (long long)FILE_MOST >> 20);
    } else if (hash_file(fd, (size_t)st.st_size, hex, err)) {
        registry_scan_measure(&now, &st);
        *out = (struct embedding_file){
            .fd = fd, .size = now.model.size, .mtime_ms = now.model.mtime_ms};
        snprintf(out->name, sizeof out->name, "%s", named->name);
        return true;
    }
    if (fd >= 0)
        close(fd);
    return err_prefix(err, "embedding %.60s", named->name);
}

/* "NAME: HASH" behind what there is; the infotext's own separators are left out of names. */
static void tell(FILE *out, const struct embeddings_named *named, const char *hex)
{
    const char *slash = strrchr(named->name, '/');
    if (ftell(out) > 0)
        fputs(", ", out);
    for (const char *c = slash ? slash + 1 : named->name; *c; c++)
        if (*c != ':' && *c != ',')
            fputc(*c, out);
    fprintf(out, ": %.*s", HASH_DIGITS, hex);
}

bool embeddings_open(struct files *f, const int text_widths[2], struct job_params *p,
                     struct embeddings *out, struct err *err)
{
    struct embeddings_list list;
    char hex[SHA256_HEX_SIZE], *text = NULL, quoted[300];
    size_t size;
    *out = (struct embeddings){.count = 0};
    free(p->embeddings);
    p->embeddings = NULL;
    if (!embeddings_find(f, text_widths, p, &list, NULL, err))
        return false;
    FILE *said = open_memstream(&text, &size);
    bool ok = said || err_set(err, ERR_INTERNAL, "no memory for a list of embeddings");
    for (size_t i = 0; ok && i < list.count; i++) {
        const struct embeddings_named *named = &list.at[i];
        if (*named->why) {
            log_event(LOG_WARN, "embedding_skipped", "name=%s reason=\"%s\"",
                      log_quote(quoted, sizeof quoted, named->name), named->why);
        } else if ((ok = open_file(named, &out->at[out->count], hex, err))) {
            tell(said, named, hex);
            out->count++;
        }
    }
    if (said && fclose(said) != 0)
        ok = err_set(err, ERR_INTERNAL, "no memory for a list of embeddings");
    if (ok && out->count > 0) {
        p->embeddings = text;
        text = NULL;
    }
    free(text);
    embeddings_list_free(&list);
    if (!ok)
        embeddings_close(out);
    return ok;
}

void embeddings_close(struct embeddings *e)
{
    for (size_t i = 0; i < e->count; i++)
        close(e->at[i].fd);
    e->count = 0;
}
