/* pull_form.c: a table of endings; the rest is the engine's. */
#include "server/pull/pull_form.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/io/sniff.h"
#include "engine/io/tensor_file.h"
#include "server/job/folders.h"

static const struct {
    const char *ending;
    enum pull_form form;
} endings[] = {
    {".safetensors", PULL_FORM_SAFETENSORS}, {".sft", PULL_FORM_SAFETENSORS},
    {".ckpt", PULL_FORM_TORCH},              {".pt", PULL_FORM_TORCH},
    {".pth", PULL_FORM_TORCH},               {".bin", PULL_FORM_TORCH},
    {".gguf", PULL_FORM_GGUF},               {".model", PULL_FORM_VOCABULARY},
};

enum pull_form pull_form_of(const char *name, size_t *stem)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i].ending);
        if (n > m && strcasecmp(name + n - m, endings[i].ending) == 0) {
            *stem = n - m;
            return endings[i].form;
        }
    }
    *stem = n;
    return PULL_FORM_OTHER;
}

/* The engine's name for it; of PULL_FORM_OTHER there is none. */
static enum pull_form form_of(enum sniff_kind kind)
{
    switch (kind) {
    case SNIFF_SAFETENSORS:
        return PULL_FORM_SAFETENSORS;
    case SNIFF_TORCH:
        return PULL_FORM_TORCH;
    case SNIFF_GGUF:
        return PULL_FORM_GGUF;
    }
    return PULL_FORM_OTHER;
}

static bool is_another(enum pull_form wanted, enum pull_form is, struct err *err)
{
    static const char *const what[] = {"a .safetensors file",
                                       "a PyTorch checkpoint (.ckpt, .pt, .pth: a zip archive or a "
                                       "pickle)",
                                       "a GGUF file"};
    static const char *const words[] = {"safetensors", "a PyTorch checkpoint", "GGUF"};
    return err_set(err, ERR_UNSUPPORTED,
                   "this is %s; wanted %s, as its name ends: another name says what it is",
                   what[is], words[wanted]);
}

bool pull_form_fits(enum pull_form *form, bool any, const void *head, size_t have, uint64_t size,
                    struct err *err)
{
    enum sniff_kind kind;
    if (!pull_form_is_weights(*form)) /* a vocabulary has no beginning of its own */
        return true;
    if (!sniff_weights(head, have, size, &kind, err))
        return false;
    if (form_of(kind) != *form && !any)
        return is_another(*form, form_of(kind), err);
    *form = form_of(kind);
    return true;
}

/* `fd` stays open. */
static bool check(enum pull_form *form, bool any, int fd, struct err *err)
{
    char head[SNIFF_BYTES];
    struct stat st;
    struct tensor_file *file = NULL;
    ssize_t n = 0;
    if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && (n = pread(fd, head, sizeof head, 0)) < 0))
        return err_set(err, ERR_IO, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "not a file");
    if (*form == PULL_FORM_VOCABULARY)
        return pictor_vocabulary_check(fd, err);
    if (pull_form_fits(form, any, head, (size_t)n, (uint64_t)st.st_size, err))
        file = tensor_file_open_header(fd, NULL, err);
    tensor_file_close(file);
    return file;
}

bool pull_form_check(enum pull_form *form, bool any, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_at(err, path, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO,
                      "%s", strerror(errno));
    bool ok = check(form, any, fd, err) || err_about(err, path);
    close(fd);
    return ok;
}

const char *pull_form_ending(enum pull_form form, enum pictor_kind kind, const char *own)
{
    const char *const *at = folders_endings((enum folders_kind)kind), *found = NULL;
    if (form == PULL_FORM_VOCABULARY)
        return kind == PICTOR_KIND_TEXT_ENCODER ? own : NULL;
    for (; *at; at++) {
        if (strcasecmp(*at, own) == 0)
            return own;
        for (size_t i = 0; !found && i < sizeof endings / sizeof *endings; i++)
            if (endings[i].form == form && strcmp(endings[i].ending, *at) == 0)
                found = *at;
    }
    return found;
}
