/* sniff.c: the marks of other kinds of files. A .safetensors file begins with 8 bytes of header
 * length, whose upper ones are 0, and "{"; nothing else that is looked for here does. */
#include "engine/io/sniff.h"

#include <string.h>
#include <strings.h>

#define READS "safetensors, checkpoints of PyTorch and GGUF"

/* Where a kind of file has its mark, and what it is called. */
static const struct {
    size_t at;
    const char *mark;
    size_t length;
    const char *what;
} binaries[] = {
    {0, "PK\5\6", 4, "an empty zip archive"},
    {0, "\x89HDF", 4, "an HDF5 file"},
    {0, "\x93NUMPY", 6, "a NumPy file"},
    {0, "\x1f\x8b", 2, "a gzip archive"},
    {0, "7z\xbc\xaf", 4, "a 7z archive"},
    {0, "Rar!", 4, "a RAR archive"},
    {0, "\x89PNG", 4, "a picture (PNG)"},
    {0, "\xff\xd8\xff", 3, "a picture (JPEG)"},
    {0, "RIFF", 4, "a picture (WebP)"},
    {257, "ustar", 5, "a tar archive"},
};

/* In lower case. */
static const struct {
    const char *start, *what;
} texts[] = {
    {"version https://git-lfs.", "a Git LFS pointer, not the file it stands for; `git lfs pull` "
                                 "fetches that"},
    {"<!doctype html", "a web page (HTML), perhaps one that asks for a login"},
    {"<html", "a web page (HTML), perhaps one that asks for a login"},
    {"<head", "a web page (HTML), perhaps one that asks for a login"},
    {"<", "a text in XML or HTML, perhaps a server's error message"},
    {"{", "a text in JSON, perhaps a server's error message"},
    {"[", "a text in JSON, perhaps a server's error message"},
};

static bool has(const unsigned char *head, size_t have, size_t at, const char *mark, size_t length)
{
    return have >= at + length && memcmp(head + at, mark, length) == 0;
}

/* A zip archive; or a pickle, which begins with its protocol and ends with a dot. Whose they are is
 * seen when they are read. */
static bool is_torch(const unsigned char *head, size_t have)
{
    return has(head, have, 0, "PK\3\4", 4) ||
           (have > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5);
}

static const char *binary_kind(const unsigned char *head, size_t have)
{
    for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++)
        if (has(head, have, binaries[i].at, binaries[i].mark, binaries[i].length))
            return binaries[i].what;
    return NULL;
}

/* No control bytes, and none that UTF-8 never has. */
static bool is_text(const unsigned char *head, size_t have)
{
    for (size_t i = 0; i < have; i++)
        if ((head[i] < ' ' && (head[i] < '\t' || head[i] > '\r')) || head[i] == 0x7f ||
            head[i] > 0xf4)
            return false;
    return have > 0;
}

static const char *text_kind(const unsigned char *head, size_t have)
{
    const char *text = (const char *)head;
    if (!is_text(head, have))
        return NULL;
    if (has(head, have, 0, "\xef\xbb\xbf", 3)) {
        text += 3;
        have -= 3;
    }
    while (have > 0 && strchr(" \t\r\n", *text)) {
        text++;
        have--;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = strlen(texts[i].start);
        if (have >= n && strncasecmp(text, texts[i].start, n) == 0)
            return texts[i].what;
    }
    return "a text";
}

static bool is_zeros(const unsigned char *head, size_t have)
{
    for (size_t i = 0; i < have; i++)
        if (head[i])
            return false;
    return true;
}

bool sniff_weights(const void *data, size_t have, uint64_t size, enum sniff_kind *kind,
                   struct err *err)
{
    const unsigned char *head = data;
    const char *what;
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;)
        length = length << 8 | (i < have ? head[i] : 0);
    have = have < SNIFF_BYTES ? have : SNIFF_BYTES;
    *kind = SNIFF_SAFETENSORS;
    bool fits = size >= 8 && length <= size - 8;
    if (have > 8 && head[8] == '{' && length <= SNIFF_HEADER)
        return fits || err_set(err, ERR_INVALID,
                               "this file was cut short: it has %llu bytes, its header alone %llu",
                               (unsigned long long)size, (unsigned long long)length);
    if (size == 0)
        return err_set(err, ERR_INVALID, "this file is empty");
    if (is_torch(head, have)) {
        *kind = SNIFF_TORCH;
        return true;
    }
    if (has(head, have, 0, "GGUF", 4)) {
        *kind = SNIFF_GGUF;
        return true;
    }
    if ((what = binary_kind(head, have)))
        return err_set(err, ERR_UNSUPPORTED, "this is %s; pictor reads " READS, what);
    if ((what = text_kind(head, have)))
        return err_set(err, ERR_INVALID, "this is %s; not a file of weights", what);
    if (is_zeros(head, have))
        return err_set(err, ERR_INVALID,
                       "this file begins with zeros, as unfinished downloads do; not a file of "
                       "weights");
    if (length > SNIFF_HEADER && have > 8 && head[8] == '{' && fits)
        return err_set(err, ERR_TOO_LARGE, "a header of %llu bytes; pictor reads %d at most",
                       (unsigned long long)length, SNIFF_HEADER);
    return (fits && length <= SNIFF_HEADER) ||
           err_set(err, ERR_INVALID,
                   "no file of weights (" READS "), or cut short: header of %llu bytes, "
                   "file of %llu",
                   (unsigned long long)length, (unsigned long long)size);
}

bool sniff_safetensors(const void *head, size_t have, uint64_t size, struct err *err)
{
    enum sniff_kind kind;
    if (!sniff_weights(head, have, size, &kind, err))
        return false;
    switch (kind) {
    case SNIFF_SAFETENSORS:
        break;
    case SNIFF_TORCH:
        return err_set(err, ERR_UNSUPPORTED,
                       "this is a PyTorch checkpoint (.ckpt, .pt, .pth: a zip archive or a "
                       "pickle); wanted safetensors");
    case SNIFF_GGUF:
        return err_set(err, ERR_UNSUPPORTED, "this is a GGUF file; wanted safetensors");
    }
    return true;
}
