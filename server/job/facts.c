/* facts.c: a tree by path under one lock, which no file is read under. */
#include "server/job/facts.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/small_file.h"

#define FACTS_MOST 200000             /* files; more are read anew after each start */
#define SIZE_MOST ((size_t)512 << 20) /* bytes of what is kept of them */

struct known {
    char *path;
    struct facts_version version;
    struct facts facts;
};

struct facts_store {
    char *path;
    pthread_mutex_t lock;   /* the fields below */
    pthread_mutex_t saving; /* one writes at a time; taken before `lock` */
    void *tree;             /* of struct known */
    size_t count, fresh;    /* fresh: since the last save */
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->path, ((const struct known *)b)->path);
}

static void free_known(void *item)
{
    struct known *k = item;
    free(k->path);
    free(k);
}

/* Takes the place of what was known of the path. Under the lock. */
static void put(struct facts_store *s, const struct known *what)
{
    struct known **found = tfind(what, &s->tree, compare);
    if (found) {
        char *path = (*found)->path;
        **found = *what;
        (*found)->path = path;
        s->fresh++;
        return;
    }
    struct known *k = s->count < FACTS_MOST ? malloc(sizeof *k) : NULL;
    if (!k)
        return;
    *k = *what;
    if ((k->path = strdup(what->path)) && tsearch(k, &s->tree, compare)) {
        s->count++;
        s->fresh++;
    } else {
        free_known(k);
    }
}

/* ---- the file ---- */

/* A program that was built again is another one. */
static void program(char *text, size_t size)
{
    struct stat st;
    if (stat("/proc/self/exe", &st) != 0)
        st = (struct stat){0};
    snprintf(text, size, "pictor facts 7 %lld %lld.%09ld", (long long)st.st_size,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

/* A line's columns behind path, size and time. Numbers first. */
enum {
    KIND,
    READABLE,
    FAULT,
    WIDTH,
    HEIGHT,
    STEPS,
    CLIP_SKIPS,
    MASKED,
    LONE,
    TEXT_WIDTH,
    SECOND_WIDTH,
    VECTORS,
    VECTOR_WIDTH,
    VECTOR_SECOND,
    VECTOR_STEP, /* plus 1 */
    GUIDANCE,
    IMAGE_GUIDANCE,
    REFERENCES,
    FLOW,
    GUIDE,
    VARIABLE,
    NUMBERS
};

struct columns {
    double numbers[NUMBERS];
    struct {
        char *text;
        size_t size;
    } texts[10];
};

/* Where the texts of `f` are. */
static void texts_of(struct facts *f, struct columns *c)
{
    struct pictor_model_info *m = &f->info.model;
    struct pictor_embedding_info *e = &f->info.embedding;
    *c = (struct columns){.texts = {{f->info.family, sizeof f->info.family},
                                    {f->info.title, sizeof f->info.title},
                                    {f->info.trigger, sizeof f->info.trigger},
                                    {f->info.alias, sizeof f->info.alias},
                                    {f->problem, sizeof f->problem},
                                    {m->architecture, sizeof m->architecture},
                                    {m->default_sampler, sizeof m->default_sampler},
                                    {m->default_scheduler, sizeof m->default_scheduler},
                                    {e->checkpoint, sizeof e->checkpoint},
                                    {e->checkpoint_name, sizeof e->checkpoint_name}}};
}
#define TEXTS (sizeof((struct columns *)0)->texts / sizeof((struct columns *)0)->texts[0])

static void write_line(FILE *out, struct known *k)
{
    const struct pictor_model_info *m = &k->facts.info.model;
    const struct pictor_embedding_info *e = &k->facts.info.embedding;
    struct columns c;
    if (k->path[strcspn(k->path, "\t\n")])
        return;
    texts_of(&k->facts, &c);
    const double numbers[NUMBERS] = {
        [KIND] = k->facts.info.kind,
        [READABLE] = k->facts.info.readable,
        [FAULT] = k->facts.fault,
        [WIDTH] = m->native_width,
        [HEIGHT] = m->native_height,
        [STEPS] = m->default_steps,
        [CLIP_SKIPS] = m->clip_skips,
        [MASKED] = m->masked,
        [LONE] = k->facts.info.lone,
        [TEXT_WIDTH] = m->text_widths[0],
        [SECOND_WIDTH] = m->text_widths[1],
        [VECTORS] = e->vectors,
        [VECTOR_WIDTH] = e->widths[0],
        [VECTOR_SECOND] = e->widths[1],
        [VECTOR_STEP] = e->vectors ? e->step + 1.0 : 0,
        [GUIDANCE] = (double)m->default_guidance,
        [IMAGE_GUIDANCE] = (double)m->default_image_guidance,
        [REFERENCES] = m->references,
        [FLOW] = m->flow,
        [GUIDE] = m->guide,
        [VARIABLE] = m->variable,
    };
    fprintf(out, "%s\t%llu\t%llu\t%lld", k->path, (unsigned long long)k->version.size,
            (unsigned long long)k->version.inode, (long long)k->version.mtime_ms);
    for (int i = 0; i < NUMBERS; i++)
        fprintf(out, "\t%.10g", numbers[i]);
    for (size_t i = 0; i < TEXTS; i++) {
        fputc('\t', out);
        for (const char *t = c.texts[i].text; *t; t++)
            fputc(*t == '\t' || *t == '\n' ? ' ' : *t, out);
    }
    fputc('\n', out);
}

/* The next column as a number in its range. */
static bool number(char **at, double least, double most, double *out)
{
    char *end, *text = strsep(at, "\t");
    *out = text ? strtod(text, &end) : 0;
    return text && *text && !*end && *out >= least && *out <= most;
}

/* `line` is changed; k->path points into it. */
static bool read_line(char *line, struct known *k)
{
    static const double most[NUMBERS] = {
        [KIND] = PICTOR_KIND_UNKNOWN,
        [READABLE] = 1,
        [FAULT] = ERR_INTERNAL,
        [WIDTH] = 1 << 20,
        [HEIGHT] = 1 << 20,
        [STEPS] = 1 << 20,
        [CLIP_SKIPS] = 1 << 20,
        [MASKED] = 1,
        [LONE] = 1,
        [TEXT_WIDTH] = 1 << 20,
        [SECOND_WIDTH] = 1 << 20,
        [VECTORS] = PICTOR_EMBEDDING_VECTORS,
        [VECTOR_WIDTH] = 1 << 20,
        [VECTOR_SECOND] = 1 << 20,
        [VECTOR_STEP] = 2147483648.0,
        [GUIDANCE] = 1e6,
        [IMAGE_GUIDANCE] = 1e6,
        [REFERENCES] = 1 << 20,
        [FLOW] = 1,
        [GUIDE] = PICTOR_GUIDE_NONE,
        [VARIABLE] = 1,
    };
    struct pictor_model_info *m = &k->facts.info.model;
    struct pictor_embedding_info *e = &k->facts.info.embedding;
    struct columns c;
    unsigned long long size, inode;
    long long mtime;
    int used = 0;
    char *at = line;
    texts_of(&k->facts, &c);
    k->path = strsep(&at, "\t");
    if (!at || sscanf(at, "%llu\t%llu\t%lld%n", &size, &inode, &mtime, &used) != 3 ||
        at[used] != '\t')
        return false;
    at += used + 1;
    for (int i = 0; i < NUMBERS; i++)
        if (!number(&at, 0, most[i], &c.numbers[i]))
            return false;
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text = strsep(&at, "\t");
        if (!text)
            return false;
        snprintf(c.texts[i].text, c.texts[i].size, "%s", text);
        json_text_mend(c.texts[i].text);
    }
    k->version = (struct facts_version){size, inode, mtime};
    k->facts.info.kind = (enum pictor_kind)c.numbers[KIND];
    k->facts.info.readable = c.numbers[READABLE] != 0;
    k->facts.fault = (enum err_code)c.numbers[FAULT];
    m->native_width = (int)c.numbers[WIDTH];
    m->native_height = (int)c.numbers[HEIGHT];
    m->default_steps = (int)c.numbers[STEPS];
    m->clip_skips = (int)c.numbers[CLIP_SKIPS];
    m->masked = c.numbers[MASKED] != 0;
    k->facts.info.lone = c.numbers[LONE] != 0;
    m->text_widths[0] = (int)c.numbers[TEXT_WIDTH];
    m->text_widths[1] = (int)c.numbers[SECOND_WIDTH];
    e->vectors = (int)c.numbers[VECTORS];
    e->widths[0] = (int)c.numbers[VECTOR_WIDTH];
    e->widths[1] = (int)c.numbers[VECTOR_SECOND];
    e->step = (int)(c.numbers[VECTOR_STEP] - 1);
    m->default_guidance = (float)c.numbers[GUIDANCE];
    m->default_image_guidance = (float)c.numbers[IMAGE_GUIDANCE];
    m->references = (int)c.numbers[REFERENCES];
    m->flow = c.numbers[FLOW] != 0;
    m->guide = (enum pictor_guide)c.numbers[GUIDE];
    m->variable = c.numbers[VARIABLE] != 0;
    snprintf(m->title, sizeof m->title, "%s", k->facts.info.title);
    return !at;
}

static void read_file(struct facts_store *s)
{
    char *line = NULL, head[128];
    size_t room = 0, bad = 0;
    ssize_t n;
    struct err why;
    FILE *in = small_file_open(s->path, SIZE_MOST, &why);
    if (!in && why.code != ERR_NOT_FOUND)
        log_err(LOG_WARN, "model_facts", &why, " ");
    program(head, sizeof head);
    if (!in || (n = getline(&line, &room, in)) < 1 || line[n - 1] != '\n' ||
        (line[n - 1] = '\0', strcmp(line, head) != 0))
        goto done;
    while ((n = getline(&line, &room, in)) > 0) {
        struct known k = {0};
        line[strcspn(line, "\n")] = '\0';
        if (read_line(line, &k))
            put(s, &k);
        else
            bad++;
    }
    if (bad)
        log_event(LOG_WARN, "model_facts", "bad_lines=%zu", bad);
done:
    free(line);
    if (in)
        fclose(in);
    s->fresh = 0;
}

static void write_node(const void *node, VISIT visit, void *out)
{
    if (visit == postorder || visit == leaf)
        write_line(out, *(struct known *const *)node);
}

void facts_save(struct facts_store *s)
{
    char part[PATH_MAX], head[128];
    pthread_mutex_lock(&s->saving);
    pthread_mutex_lock(&s->lock);
    size_t fresh = s->fresh;
    pthread_mutex_unlock(&s->lock);
    int n = snprintf(part, sizeof part, "%s.part", s->path);
    FILE *out = fresh && n > 0 && n < PATH_MAX ? fopen(part, "we") : NULL;
    if (out) {
        program(head, sizeof head);
        fprintf(out, "%s\n", head);
        pthread_mutex_lock(&s->lock);
        twalk_r(s->tree, write_node, out);
        s->fresh = 0;
        pthread_mutex_unlock(&s->lock);
        bool bad = ferror(out);
        if (fclose(out) != 0 || bad || rename(part, s->path) != 0) {
            log_event(LOG_WARN, "model_facts", "reason=\"not kept: %s\"", strerror(errno));
            unlink(part);
        }
    } else if (fresh && errno != ENOENT) {
        log_event(LOG_WARN, "model_facts", "reason=\"not kept: %s\"", strerror(errno));
    }
    pthread_mutex_unlock(&s->saving);
}

/* ---- life and use ---- */

struct facts_store *facts_new(const char *path, struct err *err)
{
    struct facts_store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        err_set(err, ERR_INTERNAL, "no memory for what is known of model files");
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->saving, NULL);
    read_file(s);
    return s;
}

void facts_free(struct facts_store *s)
{
    if (!s)
        return;
    facts_save(s);
    tdestroy(s->tree, free_known);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->saving);
    free(s->path);
    free(s);
}

bool facts_known(struct facts_store *s, const char *path, struct facts_version version,
                 struct facts *out)
{
    const struct known wanted = {.path = (char *)path};
    pthread_mutex_lock(&s->lock);
    struct known **found = tfind(&wanted, &s->tree, compare);
    bool known = found && (*found)->version.size == version.size &&
                 (*found)->version.inode == version.inode &&
                 (*found)->version.mtime_ms == version.mtime_ms;
    if (known)
        *out = (*found)->facts;
    pthread_mutex_unlock(&s->lock);
    return known;
}

/* Cut between characters, and made fit for JSON. */
static void mend(struct facts *f)
{
    struct columns c;
    texts_of(f, &c);
    for (size_t i = 0; i < TEXTS; i++)
        json_text_mend(c.texts[i].text);
    json_text_mend(f->info.model.title);
}

bool facts_of(struct facts_store *s, const char *path, struct facts_version version,
              struct facts *out, struct err *err)
{
    struct err why;
    if (facts_known(s, path, version, out))
        return true;
    *out = (struct facts){.fault = ERR_NONE};
    if (!pictor_file_probe(path, &out->info, &why)) {
        struct stat st;
        bool folder_lacks = why.code == ERR_NOT_FOUND && stat(path, &st) == 0 &&
                            S_ISDIR(st.st_mode);
        if (why.code != ERR_INVALID && why.code != ERR_UNSUPPORTED && why.code != ERR_TOO_LARGE &&
            !folder_lacks)
            return err_copy(err, &why);
        out->fault = why.code == ERR_UNSUPPORTED ? ERR_UNSUPPORTED : ERR_INVALID;
        snprintf(out->problem, sizeof out->problem, "%s", why.msg);
    }
    mend(out);
    struct known k = {.path = (char *)path, .version = version, .facts = *out};
    pthread_mutex_lock(&s->lock);
    put(s, &k);
    pthread_mutex_unlock(&s->lock);
    return true;
}
