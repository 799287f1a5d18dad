/* fsck.c: rows against files.
 *
 * The rows are read first, into a sorted list of the files there should be; then the folders are
 * walked and each file is looked up in it; what was not met on the walk is missing. */
#include "server/store/fsck.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/store/blobs.h"
#include "server/store/store.h"

#define UPLOAD_SECONDS 86400 /* an upload so old is nobody's */
#define MANY 20              /* pictures: a wrong folder is likelier than the end of them all */

struct expected {
    char *path;           /* whole */
    char id[JOB_ID_SIZE]; /* of the picture, or of the input's job */
    char input[8];        /* "init", "mask"; "": it is a picture; "/": a client's file */
    size_t bytes;
    bool met, wrong;
};

struct short_job {
    char id[JOB_ID_SIZE];
    int images, count;
};

struct fsck {
    struct store *store;
    struct blobs *blobs;
    const struct fsck_options *options;
    FILE *out;
    struct fsck_result *result;
    struct expected *files;
    size_t file_count;
    struct short_job *short_jobs;
    size_t short_count;
    bool no_memory, reindex;
    bool any_there;
};

/* One line of the table; true when it is to be repaired. */
static bool found(struct fsck *f, const char *problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool found(struct fsck *f, const char *problem, const char *format, ...)
{
    va_list ap;
    if (f->result->findings++ == 0)
        fprintf(f->out, "%-10s %s\n", "problem", "what");
    fprintf(f->out, "%-10s ", problem);
    va_start(ap, format);
    vfprintf(f->out, format, ap);
    va_end(ap);
    fputc('\n', f->out);
    return f->options->repair;
}

static void repaired(struct fsck *f, bool done, const struct err *err)
{
    if (done)
        f->result->repaired++;
    else
        fprintf(f->out, "%-10s not repaired: %s\n", "", err_text(err, (char[ERR_TEXT_SIZE]){0}));
}

/* ---- the rows ---- */

static void on_damage(void *ctx, const char *message)
{
    struct fsck *f = ctx;
    found(f, "damage", "%s", message);
}

static void expect(struct fsck *f, const char *path, const char *id, const char *input,
                   size_t bytes)
{
    if (f->file_count % 1024 == 0) {
        struct expected *files = realloc(f->files, (f->file_count + 1024) * sizeof *files);
        if (!files) {
            f->no_memory = true;
            return;
        }
        f->files = files;
    }
    struct expected *e = &f->files[f->file_count];
    *e = (struct expected){.path = strdup(path), .bytes = bytes};
    snprintf(e->id, sizeof e->id, "%s", id);
    snprintf(e->input, sizeof e->input, "%s", input);
    f->no_memory |= !e->path;
    f->file_count += e->path != NULL;
}

static void on_image(void *ctx, const char *job_id, const struct job_image *image)
{
    struct fsck *f = ctx;
    char path[BLOBS_PATH_SIZE];
    f->result->images++;
    if (!f->no_memory &&
        blobs_image_path(path, store_data(f->store), image->id, image->format, NULL))
        expect(f, path, image->id, "", image->bytes);
}

static void on_input(void *ctx, const char *job_id, const char *name, size_t bytes)
{
    struct fsck *f = ctx;
    char path[BLOBS_PATH_SIZE];
    f->result->inputs++;
    if (!f->no_memory && blobs_input_path(path, store_data(f->store), job_id, name, NULL))
        expect(f, path, job_id, name, bytes);
}

static void on_file(void *ctx, const char *id, size_t bytes)
{
    struct fsck *f = ctx;
    char path[BLOBS_PATH_SIZE];
    f->result->files++;
    if (!f->no_memory && blobs_file_path(path, store_data(f->store), id, NULL))
        expect(f, path, id, "/", bytes);
}

static void on_index(void *ctx)
{
    struct fsck *f = ctx;
    f->reindex = found(f, "index", "the index of prompts does not fit the jobs");
}

static void on_short_job(void *ctx, const char *job_id, int images, int count)
{
    struct fsck *f = ctx;
    struct short_job *jobs = realloc(f->short_jobs, (f->short_count + 1) * sizeof *jobs);
    if (!jobs) {
        f->no_memory = true;
        return;
    }
    f->short_jobs = jobs;
    struct short_job *job = &jobs[f->short_count++];
    *job = (struct short_job){.images = images, .count = count};
    snprintf(job->id, sizeof job->id, "%s", job_id);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct expected *)a)->path, ((const struct expected *)b)->path);
}

/* ---- the files ---- */

static struct expected *expected_at(const struct fsck *f, const char *path)
{
    struct expected wanted = {.path = (char *)path};
    return f->files ? bsearch(&wanted, f->files, f->file_count, sizeof *f->files, by_path) : NULL;
}

static bool look_for_any(void *ctx, const char *path, const struct stat *info)
{
    struct fsck *f = ctx;
    const struct expected *e = expected_at(f, path);
    f->any_there |= e && !e->input[0];
    return !f->any_there;
}

/* Rows beside a folder or a bucket of others, or one that is not mounted, would all be removed. */
static bool check_place(struct fsck *f, struct err *err)
{
    if (!f->options->repair || f->options->all_lost || f->result->images < MANY)
        return true;
    return blobs_walk(f->blobs, look_for_any, f, err) &&
           (f->any_there ||
            err_set(err, ERR_INVALID,
                    "none of %zu pictures is there: are data and blobs right, and mounted? No file "
                    "was touched and no row removed; if they are gone, --all-lost",
                    f->result->images));
}

/* A thumbnail has no row; it goes with its picture. */
static bool is_left_thumb(const struct fsck *f, const char *path)
{
    const char *data = store_data(f->store), *name = strrchr(path, '/') + 1;
    char id[JOB_ID_SIZE], place[BLOBS_PATH_SIZE];
    snprintf(id, sizeof id, "%s", name);
    if (!blobs_thumb_path(place, data, id, NULL) || strcmp(place, path) != 0)
        return true;
    for (enum image_format format = IMAGE_PNG; format <= IMAGE_WEBP; format++)
        if (blobs_image_path(place, data, id, format, NULL) && expected_at(f, place))
            return false;
    return true;
}

static bool is_thumb(const struct fsck *f, const char *path)
{
    size_t n = strlen(store_data(f->store));
    return strncmp(path + n, "/thumbs/", 8) == 0;
}

/* In the bucket it goes soon. */
static bool remove_file(struct fsck *f, const char *path, struct err *err)
{
    if (unlink(path) == 0)
        return true;
    if (errno != ENOENT)
        return err_set(err, ERR_IO, "%s", strerror(errno));
    blobs_remove(f->blobs, path);
    return true;
}

static bool check_upload(void *ctx, const char *path, const struct stat *info)
{
    struct fsck *f = ctx;
    if (found(f, "upload", "%s was not put whole into the bucket", path))
        f->result->repaired++;
    return true;
}

static bool check_file(void *ctx, const char *path, const struct stat *info)
{
    struct fsck *f = ctx;
    struct err err;
    struct expected *e = expected_at(f, path);
    bool recent = time(NULL) - info->st_mtime < f->options->ignore_seconds;
    if (e && S_ISREG(info->st_mode)) {
        e->met = true;
        e->wrong = (size_t)info->st_size != e->bytes;
        if (e->wrong && found(f, "size", "%s has %lld bytes, its row says %zu", path,
                              (long long)info->st_size, e->bytes))
            repaired(f, blobs_lose(f->blobs, path, &err), &err);
    } else if (!S_ISREG(info->st_mode)) {
        found(f, "strange", "%s is not a file", path);
    } else if (recent) {
        return true;
    } else if (blobs_is_unfinished(path)) {
        if (found(f, "temporary", "%s was not finished", path))
            repaired(f, remove_file(f, path, &err), &err);
    } else if (is_thumb(f, path)) {
        if (is_left_thumb(f, path) && found(f, "thumb", "%s has no picture", path))
            repaired(f, remove_file(f, path, &err), &err);
    } else if (found(f, "orphan", "%s has no row", path)) {
        repaired(f, blobs_lose(f->blobs, path, &err), &err);
    }
    return true;
}

/* ---- rows without files ---- */

/* A row that is still there: a running server may have removed it since, with its file. */
static bool row_exists(struct fsck *f, const struct expected *e)
{
    struct job_image image;
    struct store_record record;
    size_t bytes;
    if (e->input[0] == '/') {
        bool there = store_record_get(f->store, "file", e->id, NULL, &record, NULL);
        free(record.body);
        return there;
    }
    if (e->input[0])
        return store_input_bytes(f->store, e->id, e->input, &bytes, NULL);
    bool exists = store_image_held(f->store, e->id, &image, NULL);
    free(image.infotext);
    return exists;
}

static void check_missing(struct fsck *f, const struct expected *e)
{
    struct err err;
    if (e->met && !e->wrong)
        return;
    bool repair = f->options->repair; /* a wrong size was said on the walk */
    if (!e->met) {
        if (!row_exists(f, e))
            return;
        repair = found(f, "missing", "%s", e->path);
    }
    if (repair && !e->met && blobs_restore(f->blobs, e->path, e->bytes, &err)) {
        fprintf(f->out, "%-10s put again, from the copy near by\n", "");
        f->result->repaired++;
        return;
    }
    if (!repair)
        return;
    bool done = e->input[0] == '/' ? store_record_delete(f->store, e->id, &err)
                : e->input[0] ? store_input_delete(f->store, e->id, e->input, &err)
                              : store_image_delete(f->store, e->id, &err);
    if (!e->met)
        repaired(f, done, &err);
    else if (!done)
        fprintf(f->out, "%-10s its row was not removed: %s\n", "", err.msg);
}

static void check_short_job(struct fsck *f, const struct short_job *job)
{
    struct err err;
    if (found(f, "short", "job %s is done with %d of %d pictures", job->id, job->images,
              job->count))
        repaired(f, store_job_lost(f->store, job->id, &err), &err);
}

bool fsck_run(struct store *store, struct blobs *blobs, const struct fsck_options *options,
              FILE *out, struct fsck_result *result, struct err *err)
{
    struct fsck f = {
        .store = store, .blobs = blobs, .options = options, .out = out, .result = result};
    const struct store_check rows = {&f,       on_damage, on_index,    on_image,
                                     on_input, on_file,   on_short_job};
    *result = (struct fsck_result){0};
    bool done = store_check(store, &rows, err);
    if (done && f.no_memory)
        done = err_set(err, ERR_INTERNAL, "no memory for a list of files");
    if (done && f.reindex) {
        struct err trouble;
        repaired(&f, store_reindex(store, &trouble), &trouble);
    }
    if (done) {
        if (f.files)
            qsort(f.files, f.file_count, sizeof *f.files, by_path);
        time_t old = time(NULL) - UPLOAD_SECONDS;
        done = check_place(&f, err) && blobs_walk(blobs, check_file, &f, err) &&
               blobs_tidy(blobs, old, options->repair, check_upload, &f, err);
    }
    for (size_t i = 0; i < f.file_count && done; i++)
        check_missing(&f, &f.files[i]);
    /* Last, so that it sees the rows that were just removed. */
    done = done && store_check_short(store, &rows, err);
    for (size_t i = 0; i < f.short_count && done; i++)
        check_short_job(&f, &f.short_jobs[i]);
    for (size_t i = 0; i < f.file_count; i++)
        free(f.files[i].path);
    free(f.files);
    free(f.short_jobs);
    return done;
}
