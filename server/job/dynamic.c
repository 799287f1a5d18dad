/* dynamic.c: A text is not made a tree of: it is written out from its begin to its end, and of a
 * choice only what was chosen is looked at. Brackets are paired beforehand, in one pass, so that
 * their ends need not be searched for. */
#include "server/job/dynamic.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/splitmix.h"

#define NAME_MOST 64        /* bytes of a variable's name */
#define VARIABLES_MOST 64   /* of one text */
#define OPTIONS_MOST 4096   /* of one choice */
#define LINES_MOST 10000000 /* of files, each as often as it is chosen among */
#define COUNT_MOST 1000     /* of what a choice may say that it takes */

/* A text and, of each bracket in it, where its partner is; 0: it has none. */
struct source {
    const char *text;
    size_t size;
    uint32_t *partner;
};

struct variable {
    char name[NAME_MOST + 1];
    char *value;
    bool settled; /* nothing in it chooses any more */
};

struct work {
    struct wildcards *wildcards;
    bool files; /* there are some */
    bool tag;   /* what is being written is within <kind:...> */
    uint64_t state;
    FILE *out;
    size_t choices, lines; /* made so far; looked at */
    size_t *done;          /* of DYNAMIC_WORK */
    bool changed;
    struct variable variables[VARIABLES_MOST];
    size_t variable_count;
    size_t stack[DYNAMIC_DEPTH]; /* files that are being written out */
    size_t stacked;
    struct err *err;
};

/* ---- numbers ---- */

/* 0 <= x < 1 */
static double fraction(struct work *w)
{
    return (double)(splitmix_next(&w->state) >> 11) * 0x1p-53;
}

/* Before `size` things are looked at: short texts may ask for that very often. */
static bool spend(struct work *w, size_t size)
{
    *w->done += size;
    return *w->done <= DYNAMIC_WORK ||
           err_set(w->err, ERR_TOO_LARGE, "its choices and those of the job's other prompts are "
                   "too much work: wanted fewer or shorter ones");
}

/* One of the weights that is above 0, by weight; `count` of them when none is. */
static size_t pick(struct work *w, const double *weights, size_t count)
{
    double sum = 0;
    size_t last = count;
    for (size_t i = 0; i < count; i++)
        sum += weights[i];
    double at = fraction(w) * sum;
    for (size_t i = 0; i < count; i++) {
        if (weights[i] <= 0)
            continue;
        last = i;
        if (at < weights[i])
            break;
        at -= weights[i];
    }
    return last;
}

/* ---- brackets ---- */

static void source_free(struct source *s)
{
    free(s->partner);
    s->partner = NULL;
}

static bool source_init(struct source *s, const char *text, size_t size, struct err *err)
{
    *s = (struct source){text, size, calloc(size + 1, sizeof *s->partner)};
    uint32_t *open = malloc((size + 1) * sizeof *open);
    size_t depth = 0;
    if (!s->partner || !open || size >= UINT32_MAX) {
        free(open);
        source_free(s);
        return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    }
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\\') {
            i++;
        } else if (c == '{' || c == '[') {
            open[depth++] = (uint32_t)i;
        } else if (c == '}') {
            while (depth > 0 && text[open[depth - 1]] != '{')
                depth--;
            if (depth > 0)
                s->partner[open[--depth]] = (uint32_t)i;
        } else if (c == ']' && depth > 0 && text[open[depth - 1]] == '[') {
            s->partner[open[--depth]] = (uint32_t)i;
        }
    }
    free(open);
    return true;
}

/* ---- writing ---- */

static bool write_source(struct work *w, const struct source *s, size_t from, size_t to, int depth);

static bool put(struct work *w, const char *text, size_t size)
{
    fwrite(text, 1, size, w->out);
    return ftell(w->out) <= DYNAMIC_BYTES ||
           err_set(w->err, ERR_TOO_LARGE, "what it chooses is longer than %d bytes", DYNAMIC_BYTES);
}

static bool enter(struct work *w, int depth)
{
    if (depth > DYNAMIC_DEPTH)
        return err_set(w->err, ERR_INVALID,
                       "choices, wildcards and variables nest deeper than %d levels",
                       DYNAMIC_DEPTH);
    w->changed = true;
    return ++w->choices <= DYNAMIC_CHOICES ||
           err_set(w->err, ERR_TOO_LARGE, "it makes more than %d choices", DYNAMIC_CHOICES);
}

static bool write_text(struct work *w, const char *text, int depth)
{
    struct source s;
    size_t length = strlen(text);
    if (!spend(w, length) || !source_init(&s, text, length, w->err))
        return false;
    bool ok = write_source(w, &s, 0, s.size, depth);
    source_free(&s);
    return ok;
}

/* ---- wildcards ---- */

/* The name of a wildcard that begins at `from`, where "__" is. */
static bool wildcard_at(const struct source *s, size_t from, size_t to, size_t *name, size_t *size)
{
    size_t at = from + 2;
    *name = at;
    for (; at + 1 < to; at++) {
        char c = s->text[at];
        if (c == '_' && s->text[at + 1] == '_')
            break;
        if (!isalnum((unsigned char)c) && (unsigned char)c < 0x80 && !strchr("_-./* ", c))
            return false;
    }
    *size = at - *name;
    return at + 1 < to && *size > 0 && s->text[*name] != ' ' && s->text[at - 1] != ' ';
}

/* "2::red"; what is behind it. */
static const char *weight_of(const char *text, size_t size, double *weight)
{
    size_t digits = 0;
    *weight = 1;
    while (digits < size && (isdigit((unsigned char)text[digits]) || text[digits] == '.'))
        digits++;
    if (digits == 0 || digits > 20 || digits + 2 > size || memcmp(text + digits, "::", 2) != 0)
        return text;
    char number[24], *end;
    snprintf(number, sizeof number, "%.*s", (int)digits, text);
    double value = strtod(number, &end);
    if (*end || !isfinite(value))
        return text;
    *weight = value;
    return text + digits + 2;
}

/* All entries of the files. */
struct pool {
    const char **at;
    double *weights;
    size_t *files;
    size_t count;
};

static void pool_free(struct pool *p)
{
    free(p->at);
    free(p->weights);
    free(p->files);
}

static bool pool_fill(struct work *w, const char *name, size_t size, struct pool *out)
{
    struct wildcards_entries entries;
    size_t *files, count;
    *out = (struct pool){.count = 0};
    if (!wildcards_find(w->wildcards, name, size, &files, &count, w->err))
        return false;
    bool ok = spend(w, wildcards_count(w->wildcards));
    for (size_t i = 0; ok && i < count; i++) {
        if (!(ok = wildcards_entries(w->wildcards, files[i], &entries, w->err)))
            break;
        size_t room = out->count + entries.count;
        if ((w->lines += entries.count) > LINES_MOST) {
            ok = err_set(w->err, ERR_TOO_LARGE, "it chooses among more than %d lines of files",
                         LINES_MOST);
            break;
        }
        const char **at = realloc(out->at, room * sizeof *at);
        out->at = at ? at : out->at;
        double *weights = realloc(out->weights, room * sizeof *weights);
        out->weights = weights ? weights : out->weights;
        size_t *of = realloc(out->files, room * sizeof *of);
        out->files = of ? of : out->files;
        if (!at || !weights || !of) {
            ok = err_set(w->err, ERR_INTERNAL, "no memory for wildcards");
            break;
        }
        for (size_t k = 0; k < entries.count; k++, out->count++) {
            const char *text = entries.at[k];
            out->at[out->count] = weight_of(text, strlen(text), &out->weights[out->count]);
            out->files[out->count] = files[i];
        }
    }
    free(files);
    if (!ok)
        pool_free(out);
    return ok;
}

/* One entry, within which its file may not be named again. */
static bool write_entry(struct work *w, const char *text, size_t file, int depth)
{
    for (size_t i = 0; i < w->stacked; i++)
        if (w->stack[i] == file)
            return err_set(w->err, ERR_INVALID, "wildcard __%.80s__ names itself",
                           wildcards_name(w->wildcards, file));
    if (w->stacked == DYNAMIC_DEPTH)
        return enter(w, DYNAMIC_DEPTH + 1);
    w->stack[w->stacked++] = file;
    bool ok = write_text(w, text, depth + 1);
    w->stacked--;
    return ok;
}

/* `least` to `most` entries, each another one. */
static bool write_wildcard(struct work *w, const char *name, size_t size, size_t least, size_t most,
                           const char *between, size_t between_size, int depth)
{
    struct pool pool;
    if (!enter(w, depth) || !pool_fill(w, name, size, &pool))
        return false;
    least = least < pool.count ? least : pool.count;
    most = most < pool.count ? most : pool.count;
    size_t wanted = least + (size_t)(fraction(w) * (double)(most - least + 1));
    bool ok = true;
    for (size_t i = 0; ok && i < wanted && (ok = spend(w, pool.count)); i++) {
        size_t k = pick(w, pool.weights, pool.count);
        if (k == pool.count)
            break; /* those that are left have no weight */
        pool.weights[k] = 0;
        ok = (i == 0 || put(w, between, between_size)) &&
             write_entry(w, pool.at[k], pool.files[k], depth);
    }
    pool_free(&pool);
    return ok;
}

/* ---- choices ---- */

struct option {
    size_t from, to;
    double weight;
};

struct choice {
    struct option *options;
    size_t count;
    bool bounded;
    size_t least, most;
    const char *between;
    size_t between_size;
};

static bool number_at(const struct source *s, size_t *at, size_t to, size_t *out)
{
    size_t from = *at;
    *out = 0;
    while (*at < to && isdigit((unsigned char)s->text[*at])) {
        *out = *out * 10 + (size_t)(s->text[(*at)++] - '0');
        if (*out > COUNT_MOST)
            *out = COUNT_MOST;
    }
    return *at > from;
}

static bool dollars_at(const struct source *s, size_t at, size_t to)
{
    return at + 1 < to && s->text[at] == '$' && s->text[at + 1] == '$';
}

/* "2$$", "1-2$$", "-2$$", "2-$$", and what is between what is chosen, "and$$"; *at moves behind. */
static void read_bounds(const struct source *s, size_t *at, size_t to, struct choice *c)
{
    size_t i = *at, least, most;
    bool has_least = number_at(s, &i, to, &least), range = i < to && s->text[i] == '-';
    i += range;
    bool has_most = range && number_at(s, &i, to, &most);
    if ((!has_least && !has_most) || !dollars_at(s, i, to))
        return;
    *at = i += 2;
    c->bounded = true;
    c->least = has_least ? least : 1;
    c->most = has_most ? most : range ? COUNT_MOST : least;
    for (; i < to && !strchr("${}", s->text[i]); i++)
        ;
    if (i > *at && dollars_at(s, i, to)) {
        c->between = s->text + *at;
        c->between_size = i - *at;
        *at = i + 2;
    }
}

static bool add_option(struct work *w, const struct source *s, struct choice *c, size_t from,
                       size_t to)
{
    if (c->count == OPTIONS_MOST)
        return err_set(w->err, ERR_TOO_LARGE, "a choice of more than %d", OPTIONS_MOST);
    if ((c->count & (c->count - 1)) == 0) {
        size_t room = c->count ? 2 * c->count : 1;
        struct option *options = realloc(c->options, room * sizeof *options);
        if (!options)
            return err_set(w->err, ERR_INTERNAL, "no memory for a choice");
        c->options = options;
    }
    while (from < to && isspace((unsigned char)s->text[from]))
        from++;
    struct option *o = &c->options[c->count++];
    *o = (struct option){.from = from, .to = to};
    o->from = (size_t)(weight_of(s->text + from, to - from, &o->weight) - s->text);
    return true;
}

/* What stands between two braces, cut at each '|' that is at its own level. */
static bool read_choice(struct work *w, const struct source *s, size_t from, size_t to,
                        struct choice *c)
{
    *c = (struct choice){.least = 1, .most = 1, .between = ",", .between_size = 1};
    while (from < to && isspace((unsigned char)s->text[from]))
        from++;
    read_bounds(s, &from, to, c);
    for (size_t i = from; i < to; i++) {
        char ch = s->text[i];
        if (ch == '\\')
            i++;
        else if ((ch == '{' || ch == '[') && s->partner[i])
            i = s->partner[i];
        else if (ch == '|') {
            if (!add_option(w, s, c, from, i))
                return false;
            from = i + 1;
        }
    }
    return add_option(w, s, c, from, to);
}

/* Of one option that is a wildcard: its name. */
static bool is_wildcard(const struct work *w, const struct source *s, const struct choice *c,
                        size_t *name, size_t *size)
{
    const struct option *o = c->options;
    return w->files && c->count == 1 && o->to - o->from > 4 &&
           memcmp(s->text + o->from, "__", 2) == 0 && wildcard_at(s, o->from, o->to, name, size) &&
           *name + *size + 2 == o->to;
}

static bool write_options(struct work *w, const struct source *s, const struct choice *c, int depth)
{
    double *weights = malloc(c->count * sizeof *weights);
    size_t least = c->least < c->count ? c->least : c->count;
    size_t most = c->most < c->count ? c->most : c->count;
    bool ok = weights || err_set(w->err, ERR_INTERNAL, "no memory for a choice");
    if (most < least)
        most = least;
    for (size_t i = 0; ok && i < c->count; i++)
        weights[i] = c->options[i].weight;
    size_t wanted = least + (size_t)(fraction(w) * (double)(most - least + 1));
    for (size_t i = 0; ok && i < wanted && (ok = spend(w, c->count)); i++) {
        size_t k = pick(w, weights, c->count);
        if (k == c->count)
            break;
        weights[k] = 0;
        ok = (i == 0 || put(w, c->between, c->between_size)) &&
             write_source(w, s, c->options[k].from, c->options[k].to, depth + 1);
    }
    free(weights);
    return ok;
}

/* A brace at `from`, whose partner is at `to`. *is: it was a choice, and is written. */
static bool write_choice(struct work *w, const struct source *s, size_t from, size_t to, int depth,
                         bool *is)
{
    struct choice c;
    size_t name, size;
    if (!spend(w, to - from))
        return false;
    bool ok = read_choice(w, s, from + 1, to, &c);
    bool wild = ok && is_wildcard(w, s, &c, &name, &size);
    *is = ok && (c.count > 1 || c.bounded || wild);
    if (wild)
        ok = write_wildcard(w, s->text + name, size, c.least, c.most < c.least ? c.least : c.most,
                            c.between, c.between_size, depth);
    else if (*is)
        ok = enter(w, depth) && write_options(w, s, &c, depth);
    free(c.options);
    return ok;
}

/* ---- variables ---- */

static struct variable *find_variable(struct work *w, const char *name, size_t size)
{
    for (size_t i = 0; i < w->variable_count; i++)
        if (strlen(w->variables[i].name) == size && memcmp(w->variables[i].name, name, size) == 0)
            return &w->variables[i];
    return NULL;
}

/* What a part of a text becomes, owned. */
static char *settle(struct work *w, const struct source *s, size_t from, size_t to, int depth)
{
    char *text = NULL;
    size_t size;
    FILE *before = w->out;
    w->out = open_memstream(&text, &size);
    bool ok = w->out ? write_source(w, s, from, to, depth)
                     : err_set(w->err, ERR_INTERNAL, "no memory for a variable");
    if (w->out && fclose(w->out) != 0)
        ok = err_set(w->err, ERR_INTERNAL, "no memory for a variable");
    w->out = before;
    if (ok)
        return text;
    free(text);
    return NULL;
}

/* Takes the value. */
static bool set_variable(struct work *w, const char *name, size_t size, char *value, bool settled)
{
    struct variable *v = find_variable(w, name, size);
    if (!value)
        return false;
    if (!v && w->variable_count == VARIABLES_MOST) {
        free(value);
        return err_set(w->err, ERR_TOO_LARGE, "more than %d variables", VARIABLES_MOST);
    }
    if (!v) {
        v = &w->variables[w->variable_count++];
        snprintf(v->name, sizeof v->name, "%.*s", (int)size, name);
    }
    free(v->value);
    v->value = value;
    v->settled = settled;
    return true;
}

static bool use_variable(struct work *w, const struct source *s, size_t name, size_t size,
                         size_t otherwise, size_t to, int depth)
{
    const struct variable *v = find_variable(w, s->text + name, size);
    if (v && v->settled)
        return put(w, v->value, strlen(v->value));
    if (!v)
        return otherwise < to ? write_source(w, s, otherwise, to, depth + 1)
                              : err_set(w->err, ERR_INVALID, "there is no variable ${%.*s}",
                                        (int)size, s->text + name);
    char *value = strdup(v->value); /* which may be set anew meanwhile */
    bool ok = value ? write_text(w, value, depth + 1)
                    : err_set(w->err, ERR_INTERNAL, "no memory for a variable");
    free(value);
    return ok;
}

static size_t skip_blanks(const struct source *s, size_t at, size_t to)
{
    while (at < to && isspace((unsigned char)s->text[at]))
        at++;
    return at;
}

/* "${" whose '{' is at `from`, and '}' at `to`. *is: it was a variable. */
static bool write_variable(struct work *w, const struct source *s, size_t from, size_t to,
                           int depth, bool *is)
{
    size_t name = skip_blanks(s, from + 1, to), at = name;
    while (at < to && (isalnum((unsigned char)s->text[at]) || strchr("_-", s->text[at])))
        at++;
    size_t size = at - name;
    at = skip_blanks(s, at, to);
    *is = size > 0 && size <= NAME_MOST && !isdigit((unsigned char)s->text[name]) &&
          (at == to || s->text[at] == '=' || s->text[at] == ':' ||
           (s->text[at] == '?' && at + 1 < to && s->text[at + 1] == '='));
    if (!*is)
        return true;
    if (!enter(w, depth))
        return false;
    if (at == to || s->text[at] == ':')
        return use_variable(w, s, name, size, skip_blanks(s, at + 1, to), to, depth);
    bool keep = s->text[at] == '?';
    at += keep + 1u;
    bool once = at < to && s->text[at] == '!';
    at = skip_blanks(s, at + once, to);
    if (keep && find_variable(w, s->text + name, size))
        return true;
    char *value = once ? settle(w, s, at, to, depth + 1) : strndup(s->text + at, to - at);
    if (!value && !once)
        err_set(w->err, ERR_INTERNAL, "no memory for a variable");
    return set_variable(w, s->text + name, size, value, once);
}

/* ---- texts ---- */

/* What is written for a backslash at `at`: bytes of it and what follows, and from where on. */
static size_t escape_at(const struct source *s, size_t at, size_t to, int depth, size_t *skip)
{
    char c = at + 1 < to ? s->text[at + 1] : '\0';
    *skip = c == '{' || c == '}' || (c == '|' && depth > 0);
    if (c == '_' && at + 2 < to && s->text[at + 2] == '_') {
        *skip = 1;
        return 2;
    }
    return c ? *skip ? 1 : 2 : 1;
}

/* Whether a tag begins with this '<': the names in it may have "__" in them. */
static bool is_tag(const struct source *s, size_t at, size_t to)
{
    size_t word = at + 1;
    while (word < to && (isalnum((unsigned char)s->text[word]) || s->text[word] == '_'))
        word++;
    return word > at + 1 && word < to && s->text[word] == ':';
}

/* A wildcard whose name is at `name`; in a tag only where there is such a file. */
static bool is_named(struct work *w, const struct source *s, size_t name, size_t size)
{
    size_t *files = NULL, count;
    if (!w->tag)
        return true;
    *w->done += wildcards_count(w->wildcards);
    bool is = *w->done <= DYNAMIC_WORK &&
              wildcards_find(w->wildcards, s->text + name, size, &files, &count, NULL);
    free(files);
    return is;
}

/* Bytes [from, to) of the source. */
static bool write_source(struct work *w, const struct source *s, size_t from, size_t to, int depth)
{
    size_t name, size, plain = from;
    if (depth > DYNAMIC_DEPTH)
        return enter(w, depth);
    for (size_t i = from; i < to;) {
        char c = s->text[i];
        size_t end = i; /* where it goes on, if something else than text was there */
        bool variable = c == '$' && i + 1 < to && s->text[i + 1] == '{';
        size_t brace = variable ? i + 1 : i;
        bool is = false;
        w->tag = c == '<' ? is_tag(s, i, to) : w->tag && c != '>';
        if (c == '\\') {
            size_t skip, count = escape_at(s, i, to, depth, &skip);
            w->changed |= skip > 0;
            if (!put(w, s->text + plain, i - plain) || !put(w, s->text + i + skip, count))
                return false;
            plain = i += skip + count;
            continue;
        }
        if ((variable || c == '{') && s->partner[brace] && s->partner[brace] < to)
            end = s->partner[brace] + 1;
        else if (w->files && c == '_' && i + 1 < to && s->text[i + 1] == '_' &&
                 wildcard_at(s, i, to, &name, &size) && is_named(w, s, name, size))
            end = name + size + 2;
        if (end > i) { /* what is before it comes before it, also if it turns out to be text */
            if (!put(w, s->text + plain, i - plain))
                return false;
            plain = i;
            if (c == '_' ? !(is = true, write_wildcard(w, s->text + name, size, 1, 1, "", 0, depth))
                : variable ? !write_variable(w, s, brace, end - 1, depth, &is)
                           : !write_choice(w, s, i, end - 1, depth, &is))
                return false;
        }
        i = is ? end : i + 1;
        if (is)
            plain = i;
    }
    return put(w, s->text + plain, to - plain);
}

bool dynamic_resolve(const char *text, uint64_t seed, struct wildcards *wildcards, char **out,
                     struct err *err)
{
    size_t work = 0;
    return dynamic_resolve_more(text, seed, wildcards, &work, out, err);
}

bool dynamic_resolve_more(const char *text, uint64_t seed, struct wildcards *wildcards,
                          size_t *work, char **out, struct err *err)
{
    struct work w = {.wildcards = wildcards, .state = seed, .done = work, .err = err};
    char *result = NULL;
    size_t size;
    *out = NULL;
    if (!strpbrk(text, "{\\_")) /* most prompts */
        return true;
    if (strstr(text, "__") && !wildcards_any(wildcards, &w.files, err))
        return false;
    if (!(w.out = open_memstream(&result, &size)))
        return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    bool ok = write_text(&w, text, 0) && spend(&w, 0);
    if (fclose(w.out) != 0)
        ok = err_set(err, ERR_INTERNAL, "no memory for a prompt");
    for (size_t i = 0; i < w.variable_count; i++)
        free(w.variables[i].value);
    if (ok && w.changed)
        *out = result;
    else
        free(result);
    return ok;
}

/* Whether it is no text to whoever resolves it: it chooses, or names what is not there. */
static bool chooses(const char *text, struct wildcards *wildcards)
{
    char *again = NULL;
    struct err unused;
    bool is = !dynamic_resolve(text, 0, wildcards, &again, &unused) || again;
    free(again);
    return is;
}

bool dynamic_settle(char **text, struct wildcards *wildcards, struct err *err)
{
    const char *from = *text;
    if (!chooses(from, wildcards))
        return true;
    char *out = malloc(2 * strlen(from) + 1), *to = out;
    if (!out)
        return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    struct source s = {from, strlen(from), NULL};
    bool tag = false;
    for (size_t i = 0, name, size; i < s.size; i++) {
        char c = from[i];
        tag = c == '<' ? is_tag(&s, i, s.size) : tag && c != '>';
        bool named =
            !tag && c == '_' && from[i + 1] == '_' && wildcard_at(&s, i, s.size, &name, &size);
        if (c == '{' || c == '}' || named)
            *to++ = '\\';
        *to++ = c;
        if ((c == '\\' && from[i + 1]) || named)
            *to++ = from[++i];
    }
    *to = '\0';
    free(*text);
    *text = out;
    return true;
}
