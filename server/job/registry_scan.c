/* registry_scan.c: a models folder is walked breadth first, what lies there before what links lead
 * to, so that a file's name is its place wherever it has one, whatever order the disk lists in. A
 * folder that was entered is not entered again (device and inode): links may lead in circles. */
#include "server/job/registry_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/io/names.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/job/folders.h"

#define RESCAN_MS 1000 /* least time between scans that nobody asked for */
#define RESCAN_TIMES 4 /* of what a scan takes, if that is more */
#define SAID_MOST 20 /* lines about what a scan leaves out; then how many more */

/* ---- the table ---- */

static void say_skipped(const char *name, const char *why)
{
    char text[256];
    log_event(LOG_WARN, "model_skipped", "name=%s reason=\"%s\"",
              log_quote(text, sizeof text, name), why);
}

/* Why `name` cannot be a model's; NULL when it can. */
static const char *fault_of(const char *name, size_t length)
{
    if (length == 0 || length >= REGISTRY_NAME_SIZE)
        return "a name is 1..199 bytes";
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return "control characters in its name";
    return json_text_is_utf8(name, length, NULL) ? NULL : "its name is not UTF-8";
}

static struct registry_entry *append(struct registry_table *t, const char *name, size_t length,
                                     enum registry_kind kind, struct err *err)
{
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        struct registry_entry *more = realloc(t->entries, room * sizeof *more);
        if (!more) {
            err_set(err, ERR_INTERNAL, "no memory for %zu models", room);
            return NULL;
        }
        t->entries = more;
        t->room = room;
    }
    struct registry_entry *e = &t->entries[t->count];
    *e = (struct registry_entry){.model.kind = kind, .rank = t->count};
    memcpy(e->model.name, name, length);
    t->count++;
    return e;
}

struct registry_entry *registry_scan_add(struct registry_table *t, const char *name, size_t length,
                                         enum registry_kind kind, struct err *err)
{
    const char *fault = fault_of(name, length);
    err->code = ERR_NONE;
    if (!fault)
        return append(t, name, length, kind, err);
    say_skipped(name, fault);
    return NULL;
}

bool registry_scan_copy(struct registry_table *t, const struct registry_entry *e, struct err *err)
{
    const char *name = e->model.name;
    struct registry_entry *copy = append(t, name, strlen(name), e->model.kind, err);
    if (!copy)
        return false;
    size_t rank = copy->rank;
    *copy = *e;
    copy->rank = rank;
    return true;
}

void registry_scan_measure(struct registry_entry *e, const struct stat *st)
{
    struct registry_model *m = &e->model;
    int64_t mtime = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
    m->size += (uint64_t)st->st_size;
    if (mtime > m->mtime_ms)
        m->mtime_ms = mtime;
}

static int by_name(const void *a, const void *b)
{
    const struct registry_entry *x = a, *y = b;
    int order = strcmp(x->model.name, y->model.name);
    if (!order && x->inode && y->inode) { /* not as the disk lists them */
        order = (x->place > y->place) - (x->place < y->place);
        if (!order)
            order = (x->preference > y->preference) - (x->preference < y->preference);
        if (!order)
            order = strcmp(x->model.ending, y->model.ending);
    }
    return order ? order : x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Pointers into a table in order of name. */
static int by_file(const void *a, const void *b)
{
    const struct registry_entry *x = *(struct registry_entry *const *)a;
    const struct registry_entry *y = *(struct registry_entry *const *)b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    if (x->linked != y->linked)
        return x->linked ? 1 : -1;
    return x < y ? -1 : x > y;
}

/* "v1-5.ckpt" where there is a better "v1-5": it is called so. */
static bool rename_second(const struct registry_entry *first, struct registry_entry *e)
{
    size_t n = strlen(e->model.name), more = strlen(e->model.ending);
    if (!first->inode || !more || first->preference == e->preference ||
        first->place != e->place || n + more >= sizeof e->model.name)
        return false;
    memcpy(e->model.name + n, e->model.ending, more + 1);
    return e->model.named_whole = true;
}

/* Whether some were renamed: the table is no longer in order then. */
static bool rename_seconds(struct registry_table *t)
{
    bool any = false;
    for (size_t i = 0, first = 0; i < t->count; i++) {
        if (strcmp(t->entries[first].model.name, t->entries[i].model.name) != 0)
            first = i;
        else if (i != first)
            any = rename_second(&t->entries[first], &t->entries[i]) || any;
    }
    return any;
}

static void drop_taken_names(struct registry_table *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (kept && strcmp(t->entries[kept - 1].model.name, t->entries[i].model.name) == 0)
            say_skipped(t->entries[i].model.name, "there is another model of this name");
        else
            t->entries[kept++] = t->entries[i];
    }
    t->count = kept;
}

bool registry_scan_sort(struct registry_table *t, struct err *err)
{
    if (t->count == 0) /* qsort wants a list */
        return true;
    qsort(t->entries, t->count, sizeof *t->entries, by_name);
    if (rename_seconds(t))
        qsort(t->entries, t->count, sizeof *t->entries, by_name);
    drop_taken_names(t);
    struct registry_entry **files = malloc((t->count + 1) * sizeof *files);
    if (!files)
        return err_set(err, ERR_INTERNAL, "no memory for %zu models", t->count);
    for (size_t i = 0; i < t->count; i++) {
        files[i] = &t->entries[i];
        t->entries[i].same = i;
    }
    qsort(files, t->count, sizeof *files, by_file);
    for (size_t i = 1; i < t->count; i++)
        if (files[i]->inode && files[i]->inode == files[i - 1]->inode &&
            files[i]->device == files[i - 1]->device)
            files[i]->same = files[i - 1]->same;
    free(files);
    return true;
}

static int is_called(const void *name, const void *entry)
{
    return strcmp(name, ((const struct registry_entry *)entry)->model.name);
}

struct registry_entry *registry_scan_find(const struct registry_table *t, const char *name)
{
    return t->count ? bsearch(name, t->entries, t->count, sizeof *t->entries, is_called) : NULL;
}

void registry_scan_free(struct registry_table *t)
{
    free(t->entries);
    *t = (struct registry_table){0};
}

/* ---- walking ---- */

struct folder {
    char *name; /* its place below the models folder, "" or with a slash at the end; owned */
    int depth;  /* of what lies in it */
    bool linked;
};

struct folders {
    struct folder *list;
    size_t count, room;
};

struct walk {
    struct registry_table *table;
    const struct registry_scan_place *place;
    struct folders now, later; /* later: those that links lead to */
    void *entered;             /* a tree of struct place */
    size_t items, skipped;
    struct err *err;
};

struct place {
    dev_t device;
    ino_t inode;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Whether this is the first time. Without memory it is not: nothing is entered for ever. */
static bool enter(struct walk *w, const struct stat *st)
{
    struct place *place = malloc(sizeof *place);
    if (!place)
        return false;
    *place = (struct place){st->st_dev, st->st_ino};
    struct place **found = tsearch(place, &w->entered, compare_places);
    if (found && *found == place)
        return true;
    free(place);
    return false;
}

static void skip(struct walk *w, const char *name, const char *why)
{
    if (w->skipped++ < SAID_MOST)
        say_skipped(name, why);
}

static bool push(struct walk *w, struct folders *to, const char *name, int depth, bool linked)
{
    if (to->count == to->room) {
        size_t room = to->room ? 2 * to->room : 16;
        struct folder *more = realloc(to->list, room * sizeof *more);
        if (!more)
            return err_set(w->err, ERR_INTERNAL, "no memory for %zu folders", room);
        to->list = more;
        to->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return err_set(w->err, ERR_INTERNAL, "no memory for a folder's name");
    to->list[to->count++] = (struct folder){copy, depth, linked};
    return true;
}

/* The stem's length, or 0 when the name has another ending; *preference: which one it has. */
static size_t stem(const struct walk *w, const char *name, int *preference)
{
    const char *const *endings = w->place->endings;
    size_t n = strlen(name);
    for (int i = 0; endings[i]; i++) {
        size_t ending = strlen(endings[i]);
        if (n > ending && strcasecmp(name + n - ending, endings[i]) == 0) {
            *preference = i + 1;
            return n - ending;
        }
    }
    return 0;
}

/* What lies at `name` in the place, the first `length` bytes of which, behind the place's prefix,
 * are its name; NULL as registry_scan_add. */
static struct registry_entry *add(struct walk *w, const char *name, size_t length, bool linked,
                                  const struct stat *st)
{
    char path[PATH_MAX], full[PATH_MAX];
    const char *prefix = w->place->prefix, *slash = *prefix && length ? "/" : "";
    int n = snprintf(full, sizeof full, "%s%s%.*s", prefix, slash, (int)length, name);
    const char *fault = n < 0 || n >= PATH_MAX ? "its path is too long" : fault_of(full, (size_t)n);
    if (!fault && w->table->count >= REGISTRY_SCAN_MODELS)
        fault = "too many models";
    if (!fault && (size_t)snprintf(path, sizeof path, "%s%s%s", w->place->path, *name ? "/" : "",
                                   name) >= sizeof path)
        fault = "its path is too long";
    w->err->code = ERR_NONE;
    if (fault) {
        skip(w, name, fault);
        return NULL;
    }
    struct registry_entry *e = append(w->table, full, (size_t)n, REGISTRY_LOCAL, w->err);
    if (e) {
        snprintf(e->model.ending, sizeof e->model.ending, "%s", name + length);
        e->model.path = folders_keep(w->place->folders, path);
        e->device = st->st_dev;
        e->inode = st->st_ino;
        e->linked = linked;
        e->quiet = w->place->quiet;
        e->place = w->place->order;
    }
    if (e && !e->model.path) {
        err_set(w->err, ERR_INTERNAL, "no memory for a path");
        return NULL;
    }
    return e;
}

/* Adds the files of one part of a model's folder, if it has that. */
static void measure_part(struct registry_entry *e, int fd, const char *name)
{
    int part = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = part < 0 ? NULL : fdopendir(part);
    struct dirent *item;
    struct stat file;
    while (dir && (item = readdir(dir)))
        if (fstatat(dirfd(dir), item->d_name, &file, 0) == 0 && S_ISREG(file.st_mode))
            registry_scan_measure(e, &file);
    if (dir)
        closedir(dir);
    else if (part >= 0)
        close(part);
}

static bool has_folder(int fd, const char *name)
{
    struct stat st;
    return fstatat(fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* A folder in the diffusers layout, with the size and time of all that pictor_files_open opens. */
static bool add_model_folder(struct walk *w, int fd, const char *name, bool linked,
                             const struct stat *st)
{
    const char *part;
    struct registry_entry *e = add(w, name, strlen(name), linked, st);
    for (int i = 0; e && (part = names_folder(i)); i++)
        measure_part(e, fd, part);
    if (e) {
        measure_part(e, fd, "scheduler");
        if (has_folder(fd, "transformer"))
            measure_part(e, fd, "transformer");
        if (!has_folder(fd, "unet"))
            measure_part(e, fd, ".");
    }
    return e || w->err->code == ERR_NONE;
}

static bool found_file(struct walk *w, const char *name, bool linked, const struct stat *st)
{
    int preference = 0;
    struct registry_entry *e = add(w, name, stem(w, name, &preference), linked, st);
    if (e) {
        e->preference = preference;
        registry_scan_measure(e, st);
    }
    return e || w->err->code == ERR_NONE;
}

static bool is_model_folder(int fd)
{
    struct stat config, weights;
    if (fd < 0)
        return false;
    if (has_folder(fd, "unet") || has_folder(fd, "transformer"))
        return true;
    /* A UNet alone, beside its configuration. */
    return fstatat(fd, "config.json", &config, 0) == 0 &&
           (fstatat(fd, "diffusion_pytorch_model.safetensors", &weights, 0) == 0 ||
            fstatat(fd, "diffusion_pytorch_model.bin", &weights, 0) == 0);
}

/* `name` has a slash at the end. */
static bool found_folder(struct walk *w, int parent, const char *item, char *name,
                         const struct folder *in, bool link, const struct stat *st)
{
    int fd = w->place->flat && !w->place->models
                 ? -1
                 : openat(parent, item, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->place->models && is_model_folder(fd)) {
        name[strlen(name) - 1] = '\0';
        bool done = add_model_folder(w, fd, name, in->linked || link, st);
        close(fd);
        return done;
    }
    if (fd >= 0)
        close(fd);
    if (w->place->flat)
        return true;
    if (in->depth < REGISTRY_SCAN_DEPTH)
        return push(w, link ? &w->later : &w->now, name, in->depth + 1, in->linked || link);
    char why[80];
    snprintf(why, sizeof why, "a folder more than %d folders deep", REGISTRY_SCAN_DEPTH);
    skip(w, name, why);
    return true;
}

/* False only without memory. Links are followed: people keep models elsewhere. */
static bool found(struct walk *w, DIR *dir, const struct dirent *item, const struct folder *in)
{
    char name[PATH_MAX];
    struct stat st, own;
    int unused;
    bool may_be_folder = item->d_type != DT_REG;
    int n = snprintf(name, sizeof name, "%s%s/", in->name, item->d_name);
    if (item->d_name[0] == '.' || (!may_be_folder && !stem(w, item->d_name, &unused)))
        return true;
    if (n < 0 || (size_t)n >= sizeof name) {
        skip(w, item->d_name, "its path is too long");
        return true;
    }
    if (fstatat(dirfd(dir), item->d_name, &st, 0) != 0)
        return true; /* gone by now, or a link to nothing */
    bool link = item->d_type == DT_LNK ||
                (item->d_type == DT_UNKNOWN &&
                 fstatat(dirfd(dir), item->d_name, &own, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISLNK(own.st_mode));
    if (S_ISDIR(st.st_mode))
        return found_folder(w, dirfd(dir), item->d_name, name, in, link, &st);
    name[n - 1] = '\0';
    return !S_ISREG(st.st_mode) || !stem(w, name, &unused) ||
           found_file(w, name, in->linked || link, &st);
}

static bool walk_folder(struct walk *w, const struct folder *in)
{
    char path[PATH_MAX];
    struct stat st;
    struct dirent *item;
    bool done = true;
    int n = snprintf(path, sizeof path, "%s/%s", w->place->path, in->name);
    DIR *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (!dir && !*in->name) /* a disk that is away must not look like an empty folder */
        return err_at(w->err, w->place->path, ERR_UNAVAILABLE, "cannot open the models folder: %s",
                      strerror(errno));
    if (!dir) {
        skip(w, in->name, strerror(errno));
        return true;
    }
    if (fstat(dirfd(dir), &st) == 0 && enter(w, &st))
        while (done && w->items < REGISTRY_SCAN_ITEMS && (item = readdir(dir))) {
            w->items++;
            done = found(w, dir, item, in);
        }
    closedir(dir);
    return done;
}

static int by_place(const void *a, const void *b)
{
    return strcmp(((const struct folder *)a)->name, ((const struct folder *)b)->name);
}

static void free_folders(struct folders *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->list[i].name);
    free(f->list);
    *f = (struct folders){0};
}

/* What lies there; then what the links in it lead to; then what the links in that lead to. */
static bool walk_all(struct walk *w)
{
    bool done = push(w, &w->now, "", 0, false);
    while (done && w->now.count) {
        for (size_t i = 0; done && i < w->now.count; i++) {
            struct folder in = w->now.list[i]; /* the list may move */
            done = walk_folder(w, &in);
        }
        free_folders(&w->now);
        w->now = w->later;
        w->later = (struct folders){0};
        if (w->now.count)
            qsort(w->now.list, w->now.count, sizeof *w->now.list, by_place);
    }
    return done;
}

int64_t registry_scan_again_ms(int64_t begun)
{
    int64_t now = now_ms(), pause = RESCAN_TIMES * (now - begun);
    return now + (pause > RESCAN_MS ? pause : RESCAN_MS);
}

/* A place that is a model itself, and not a folder of models. */
static bool is_whole(struct walk *w, bool *done)
{
    struct stat st;
    int fd = *w->place->prefix && w->place->models
                 ? open(w->place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                 : -1;
    bool is = is_model_folder(fd) && fstat(fd, &st) == 0;
    if (is)
        *done = add_model_folder(w, fd, "", false, &st);
    if (fd >= 0)
        close(fd);
    return is;
}

bool registry_scan_folder(struct registry_table *t, const struct registry_scan_place *place,
                          struct err *err)
{
    struct err unused;
    struct walk w = {.table = t, .place = place, .err = err ? err : &unused};
    bool done;
    if (!is_whole(&w, &done))
        done = walk_all(&w);
    if (w.skipped > SAID_MOST)
        log_event(LOG_WARN, "models_skipped", "count=%zu more=%zu", w.skipped,
                  w.skipped - SAID_MOST);
    if (w.items >= REGISTRY_SCAN_ITEMS)
        log_event(LOG_WARN, "models_skipped",
                  "reason=\"looked at %d files and folders; the rest was left out\"",
                  REGISTRY_SCAN_ITEMS);
    free_folders(&w.now);
    free_folders(&w.later);
    tdestroy(w.entered, free);
    return done;
}
