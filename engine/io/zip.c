/* zip.c: The directory stands at the end of an archive: a record that is found from behind says
 * where it is, and where its own fields are too small, zip64's record in front of it does. Each
 * entry of the directory points at a header in front of its data, which has a name and an extra
 * field of its own lengths: only that header says where the data begins. (PKWARE's APPNOTE.TXT,
 * sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.) */
#include "engine/io/zip.h"

#include <stdlib.h>
#include <string.h>

#include "engine/io/raw_tensor.h"

#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define COMMENT_MOST 65535
#define DIRECTORY_MOST ((size_t)64 << 20) /* bytes; one of 2,000 tensors has 0.2 MB */
#define ENTRIES_MOST 200000

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | p[bytes];
    return n;
}

static bool is_mark(const unsigned char *p, const char *mark)
{
    return memcmp(p, mark, 4) == 0;
}

struct directory {
    uint64_t at, size, count;
};

static bool find_directory(const struct file_bytes *b, struct directory *d, struct err *err)
{
    unsigned char head[END64_BYTES];
    size_t have = b->size < END_BYTES + COMMENT_MOST ? b->size : END_BYTES + COMMENT_MOST;
    size_t start = b->size - have, end = have;
    unsigned char *tail = malloc(have + 1);
    if (!tail)
        return err_set(err, ERR_INTERNAL, "no memory for the end of a zip archive");
    bool ok = file_bytes_read(b, start, tail, have, err), found = false;
    for (size_t i = have < END_BYTES ? 0 : have - END_BYTES + 1; ok && i-- > 0 && !found;) {
        found = is_mark(tail + i, "PK\5\6") && i + END_BYTES + number(tail + i + 20, 2) == have;
        end = i;
    }
    if (ok && !found)
        ok = err_set(err, ERR_INVALID, "a zip archive without its directory: cut short?");
    if (ok) {
        const unsigned char *p = tail + end;
        *d = (struct directory){number(p + 16, 4), number(p + 12, 4), number(p + 10, 2)};
        size_t at = start + end; /* where zip64's locator may stand in front of */
        if (at >= LOCATOR_BYTES && file_bytes_read(b, at - LOCATOR_BYTES, head, LOCATOR_BYTES, err)
            && is_mark(head, "PK\6\7")) {
            uint64_t record = number(head + 8, 8);
            ok = record < b->size && file_bytes_read(b, record, head, END64_BYTES, err);
            if (!ok || !is_mark(head, "PK\6\6"))
                ok = err_set(err, ERR_INVALID, "a zip64 archive whose directory is not there");
            else
                *d = (struct directory){number(head + 48, 8), number(head + 40, 8),
                                        number(head + 32, 8)};
        }
    }
    free(tail);
    if (!ok)
        return false;
    if (d->size > DIRECTORY_MOST || d->count > ENTRIES_MOST)
        return err_set(err, ERR_TOO_LARGE,
                       "a zip archive's directory of %llu entries and %llu bytes; wanted at most "
                       "%d and %zu",
                       (unsigned long long)d->count, (unsigned long long)d->size, ENTRIES_MOST,
                       DIRECTORY_MOST);
    return (d->at <= b->size && d->size <= b->size - d->at) ||
           err_set(err, ERR_INVALID, "a zip archive whose directory is not in the file");
}

/* zip64's extra field has those of the sizes and the place, in this order, that read all ones. */
static bool read_extra(const unsigned char *p, size_t n, uint64_t *size, uint64_t *packed,
                       uint64_t *at)
{
    uint64_t *fields[] = {size, packed, at};
    while (n >= 4) {
        size_t length = number(p + 2, 2), from = 4;
        if (length > n - 4)
            return false;
        for (size_t i = 0; number(p, 2) == 1 && i < 3; i++) {
            if (*fields[i] != UINT32_MAX)
                continue;
            if (from + 8 > 4 + length)
                return false;
            *fields[i] = number(p + from, 8);
            from += 8;
        }
        p += 4 + length;
        n -= 4 + length;
    }
    return true;
}

/* The entry at `p`, of which there are `n` bytes; returns its length, 0 with an error. */
static size_t read_entry(const struct file_bytes *b, const unsigned char *p, size_t n,
                         struct zip_entry *e, struct err *err)
{
    unsigned char local[30];
    if (n < 46 || !is_mark(p, "PK\1\2"))
        return err_set(err, ERR_INVALID, "a zip archive whose directory is broken");
    size_t name = number(p + 28, 2), extra = number(p + 30, 2), comment = number(p + 32, 2);
    uint64_t packed = number(p + 20, 4), size = number(p + 24, 4), at = number(p + 42, 4);
    if (46 + name + extra + comment > n || !read_extra(p + 46 + name, extra, &size, &packed, &at))
        return err_set(err, ERR_INVALID, "a zip archive whose directory is broken");
    *e = (struct zip_entry){.method = (unsigned)number(p + 10, 2),
                            .flags = (unsigned)number(p + 8, 2)};
    if (!(e->name = strndup((const char *)p + 46, name)))
        return err_set(err, ERR_INTERNAL, "no memory for a zip archive's directory");
    char shown[64];
    raw_tensor_show(shown, sizeof shown, e->name);
    if (at > b->size || b->size - at < sizeof local ||
        !file_bytes_read(b, at, local, sizeof local, err) || !is_mark(local, "PK\3\4")) {
        free(e->name);
        return err_set(err, ERR_INVALID, "%s: not where the zip archive's directory says", shown);
    }
    e->at = at + sizeof local + number(local + 26, 2) + number(local + 28, 2);
    e->size = packed; /* as it lies there */
    if (e->at > b->size || packed > b->size - e->at || (e->method == 0 && packed != size)) {
        free(e->name);
        return err_set(err, ERR_INVALID,
                       "%s: %llu bytes, but the file has only %zu from its place on (cut short?)",
                       shown, (unsigned long long)packed,
                       e->at > b->size ? (size_t)0 : b->size - (size_t)e->at);
    }
    return 46 + name + extra + comment;
}

static int by_place(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zip_entry *)a)->name, ((const struct zip_entry *)b)->name);
}

static bool check_entries(struct zip *z, struct err *err)
{
    char a[64], b[64];
    qsort(z->entries, z->count, sizeof *z->entries, by_place);
    for (size_t i = 1; i < z->count; i++)
        if (z->entries[i].at < z->entries[i - 1].at + z->entries[i - 1].size)
            return err_set(err, ERR_INVALID, "%s and %s overlap in the zip archive",
                           raw_tensor_show(a, sizeof a, z->entries[i - 1].name),
                           raw_tensor_show(b, sizeof b, z->entries[i].name));
    qsort(z->entries, z->count, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (strcmp(z->entries[i - 1].name, z->entries[i].name) == 0)
            return err_set(err, ERR_INVALID, "%s is in the zip archive twice",
                           raw_tensor_show(a, sizeof a, z->entries[i].name));
    return true;
}

bool zip_read(struct zip *z, const struct file_bytes *bytes, struct err *err)
{
    struct directory d = {0};
    *z = (struct zip){0};
    if (!find_directory(bytes, &d, err))
        return false;
    unsigned char *text = malloc(d.size + 1);
    z->entries = calloc(d.count + 1, sizeof *z->entries);
    bool ok = (text && z->entries) ||
              err_set(err, ERR_INTERNAL, "no memory for a zip archive's directory");
    ok = ok && file_bytes_read(bytes, d.at, text, d.size, err);
    for (size_t i = 0; ok && z->count < d.count;) {
        size_t n = read_entry(bytes, text + i, d.size - i, &z->entries[z->count], err);
        ok = n > 0;
        z->count += ok;
        i += n;
    }
    free(text);
    return ok && check_entries(z, err);
}

void zip_free(struct zip *z)
{
    for (size_t i = 0; i < z->count; i++)
        free(z->entries[i].name);
    free(z->entries);
    *z = (struct zip){0};
}

const struct zip_entry *zip_find(const struct zip *z, const char *name)
{
    struct zip_entry key = {.name = (char *)name};
    return z->count ? bsearch(&key, z->entries, z->count, sizeof key, by_name) : NULL;
}

bool zip_is_stored(const struct zip_entry *e, struct err *err)
{
    char shown[64];
    raw_tensor_show(shown, sizeof shown, e->name);
    if (e->flags & 1)
        return err_set(err, ERR_UNSUPPORTED, "%s is encrypted", shown);
    if (e->method == 0)
        return true;
    return err_set(err, ERR_UNSUPPORTED,
                   "%s is compressed (%s, method %u of zip); wanted it stored, as PyTorch writes "
                   "it",
                   shown, e->method == 8 ? "deflate" : "not deflate", e->method);
}
