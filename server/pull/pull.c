/* pull.c: what there is already, and where what came goes. */
#include "server/pull/pull.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/settings.h"
#include "server/pull/pull_catalogue.h"
#include "server/pull/pull_folder.h"
#include "server/pull/pull_part.h"

/* The settings' folder of the kind, or "" without room in `path`. */
static void folder_of(const struct settings *s, enum pictor_kind kind, char path[PATH_MAX])
{
    static const char *const names[] = {"models",     "loras",       "vaes",         "upscalers",
                                        "embeddings", "controlnets", "text_encoders"};
    const char *const own[] = {s->models,     s->loras,       s->vaes,         s->upscalers,
                               s->embeddings, s->controlnets, s->text_encoders};
    int n = *own[kind] ? snprintf(path, PATH_MAX, "%s", own[kind])
                       : snprintf(path, PATH_MAX, "%s/%s", s->data, names[kind]);
    if (n < 0 || n >= PATH_MAX)
        *path = '\0';
}

/* Where a file of this content goes in the folder of a kind; *listed: with an ending that is looked
 * for there. False: too long. */
static bool place(const struct settings *s, const struct pull_source *source, enum pull_form form,
                  enum pictor_kind kind, bool *listed, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    size_t stem;
    folder_of(s, kind, folder);
    bool named = pull_form_of(source->name, &stem) == form;
    const char *own = source->name + stem;
    const char *ending = pull_form_ending(form, kind, named ? own : "");
    *listed = ending;
    int n = form == PULL_FORM_VOCABULARY /* which is looked for by this name alone */
                ? snprintf(path, PATH_MAX, "%s/spiece.model", folder)
                : snprintf(path, PATH_MAX, "%s/%.*s%s", folder, (int)stem, source->name,
                           ending ? ending : own);
    return *folder && n > 0 && n < PATH_MAX &&
           (form != PULL_FORM_VOCABULARY || kind == PICTOR_KIND_TEXT_ENCODER);
}

static bool make_models(const struct settings *settings, char folder[PATH_MAX], struct err *err)
{
    folder_of(settings, PICTOR_KIND_MODEL, folder);
    if (!*settings->models)
        mkdir(settings->data, 0700);
    return (*folder && (mkdir(folder, 0755) == 0 || errno == EEXIST)) ||
           err_set(err, ERR_IO, "cannot make the models folder: %s", strerror(errno));
}

/* What lies at the path: the file that is wanted; or, with `err` set, another one. */
static bool is_wanted(const char *path, enum pull_form form, const struct pull_source *s,
                      const struct pull_watch *watch, struct err *err)
{
    char hex[SHA256_HEX_SIZE];
    struct err why;
    if (!pull_form_check(&form, false, path, &why))
        return why.code == ERR_NOT_FOUND || why.code == ERR_INVALID ||
                       why.code == ERR_UNSUPPORTED || why.code == ERR_TOO_LARGE
                   ? false
                   : err_copy(err, &why);
    if (*s->sha256 && !pull_part_hash(path, watch->stop, hex, err))
        return false;
    return !*s->sha256 || strcmp(hex, s->sha256) == 0 ||
           err_set(err, ERR_INVALID,
                   "another model has this name: it hashes to %.64s, wanted %.64s; choose one "
                   "with --name",
                   hex, s->sha256);
}

/* Whether it is there already: a file of some kind, and the one that is wanted. What has its name
 * and is none is fetched again. `err` is set when it is another one. */
static bool is_there(const struct settings *settings, const struct pull_source *s,
                     const struct pull_watch *watch, char path[PATH_MAX], struct err *err)
{
    size_t stem;
    enum pull_form named = pull_form_of(s->name, &stem);
    err->code = ERR_NONE;
    for (int kind = 0; kind < PICTOR_KIND_UNKNOWN; kind++)
        for (int form = 0; form < PULL_FORM_OTHER; form++) {
            bool listed;
            bool other = form != (int)named;
            if ((other && (!s->guessed || form == PULL_FORM_VOCABULARY)) ||
                !place(settings, s, (enum pull_form)form, (enum pictor_kind)kind, &listed, path))
                continue;
            if (is_wanted(path, (enum pull_form)form, s, watch, err))
                return true;
            if (err->code != ERR_NONE)
                return false;
        }
    return false;
}

/* What it is; a model that cannot be painted with is there all the same. */
static void describe(const char *path, enum pull_form form, struct pull_result *out)
{
    if (form == PULL_FORM_VOCABULARY) { /* which was read whole */
        out->kind = PICTOR_KIND_TEXT_ENCODER;
        return;
    }
    struct pictor_file_info info;
    struct err why = {0};
    if (!pictor_file_probe(path, &info, &why))
        err_set(&out->problem, ERR_UNSUPPORTED, "it is there, but cannot be painted with: %.180s",
                why.msg);
    out->kind = info.kind;
}

/* Gives the part its name in the folder of its kind; on another disk than the models, among these,
 * where it is found as well. */
static bool keep(struct pull_part *p, const struct settings *settings, struct pull_result *out,
                 struct err *err)
{
    char path[PATH_MAX], folder[PATH_MAX];
    bool listed;
    describe(p->part, p->form, out);
    enum pictor_kind kind = out->kind < PICTOR_KIND_UNKNOWN ? out->kind : PICTOR_KIND_MODEL;
    folder_of(settings, kind, folder);
    bool there = kind != PICTOR_KIND_MODEL &&
                 place(settings, p->source, p->form, kind, &listed, path) &&
                 (mkdir(folder, 0755) == 0 || errno == EEXIST) && rename(p->part, path) == 0;
    if (!there && (!place(settings, p->source, p->form, PICTOR_KIND_MODEL, &listed, path) ||
                   rename(p->part, path) != 0))
        return err_at(err, p->part, ERR_IO, "cannot rename it: %s", strerror(errno));
    if (!listed && out->problem.code == ERR_NONE)
        err_set(&out->problem, ERR_UNSUPPORTED,
                "it is there, but no %s is read from such a container",
                pictor_kind_name(kind));
    memcpy(out->path, path, sizeof out->path);
    unlink(p->etag_path);
    return true;
}

bool pull_find(struct pull_source *s, const struct settings *settings, const char *ref,
               struct err *err)
{
    const struct pull_catalogue_entry *known = pull_catalogue_find(ref);
    char promised[SHA256_HEX_SIZE];
    if (known && !*s->name && !pull_source_set_name(s, known->name, err))
        return false;
    memcpy(promised, s->sha256, sizeof promised);
    if (known && !*promised)
        snprintf(promised, sizeof promised, "%s", known->sha256);
    return pull_source_find(s, settings, known ? known->ref : ref, err) &&
           (!*promised || pull_source_set_sha256(s, promised, err));
}

static bool run_folder(const struct pull_source *s, const struct pull_watch *watch,
                       const char *models, struct pull_result *out, struct err *err)
{
    char part[PATH_MAX];
    struct stat st;
    int n = snprintf(out->path, sizeof out->path, "%s/%s", models, s->name);
    if (n < 0 || n >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the models folder is too long");
    if (lstat(out->path, &st) == 0) {
        out->was_there = true;
        describe(out->path, PULL_FORM_OTHER, out);
        if (stat(out->path, &st) != 0 || !S_ISDIR(st.st_mode))
            return err_at(err, out->path, ERR_INVALID,
                          "there is something else of this name; choose one with --name");
        return pull_folder_is(out->path, s, watch) ||
               err_at(err, out->path, ERR_INVALID,
                      "another model has this name, or parts of it are others; choose one with "
                      "--name");
    }
    int fd = pull_folder_fetch(s, watch, models, part, err);
    if (fd < 0)
        return false;
    describe(part, PULL_FORM_OTHER, out);
    bool done = rename(part, out->path) == 0 ||
                err_at(err, part, ERR_IO, "cannot rename it: %s", strerror(errno));
    close(fd);
    return done;
}

bool pull_run(const struct settings *settings, const struct pull_source *s,
              const struct pull_watch *watch, struct pull_result *out, struct err *err)
{
    struct pull_part p;
    char folder[PATH_MAX];
    *out = (struct pull_result){.kind = PICTOR_KIND_UNKNOWN};
    if (!make_models(settings, folder, err))
        return false;
    if (s->file_count)
        return run_folder(s, watch, folder, out, err);
    if (!pull_part_init(&p, s, watch, folder, s->name, err))
        return false;
    if (is_there(settings, s, watch, out->path, err)) {
        out->was_there = true;
        out->unchecked = !*s->sha256;
        describe(out->path, p.form, out);
        return true;
    }
    bool done = err->code == ERR_NONE && pull_part_fetch(&p, out->sha256, err) &&
                keep(&p, settings, out, err);
    pull_part_close(&p);
    return done;
}

bool pull_has_part(const struct settings *settings, const char *name)
{
    static const enum pictor_kind kinds[] = {PICTOR_KIND_VAE, PICTOR_KIND_TEXT_ENCODER};
    static const char *const endings[] = {".safetensors", ".sft", ".gguf", ".ckpt",
                                          ".pth",         ".pt",  ".model"};
    char folder[PATH_MAX], path[PATH_MAX + 300];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        folder_of(settings, kinds[i], folder);
        for (size_t k = 0; *folder && k < sizeof endings / sizeof *endings; k++) {
            snprintf(path, sizeof path, "%s/%.200s%s", folder, name, endings[k]);
            if (access(path, F_OK) == 0)
                return true;
        }
    }
    return false;
}

bool pull_forget(const struct settings *settings, const char *name, struct err *err)
{
    struct pull_part p;
    char folder[PATH_MAX];
    if (!make_models(settings, folder, err) || !pull_part_init(&p, NULL, NULL, folder, name, err))
        return false;
    if (access(p.part, F_OK) != 0)
        return pull_folder_forget(folder, name, err);
    bool done = pull_part_open(&p, err);
    if (done)
        pull_part_remove(&p);
    pull_part_close(&p);
    return done;
}
