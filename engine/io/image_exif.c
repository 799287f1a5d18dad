/* image_exif.c: EXIF 2.3 within TIFF 6.0: a header says the byte order and where the first
 * directory is; a directory is a count and entries of 12 bytes (tag, type, count, and the value or
 * its offset). Every offset is held against the block's size before it is followed. */
#include "engine/io/image_exif.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/utf8.h"

#define TAG_ORIENTATION 0x0112
#define TAG_EXIF_DIRECTORY 0x8769
#define TAG_USER_COMMENT 0x9286
#define TYPE_SHORT 3
#define TYPE_LONG 4
#define TYPE_UNDEFINED 7
#define CODE_SIZE 8                 /* a UserComment begins with the name of its character code */
#define DIRECTORY_SIZE (2 + 12 + 4) /* of one entry */
#define HEAD_SIZE (8 + 2 * DIRECTORY_SIZE)

struct tiff {
    const uint8_t *data;
    size_t size;
    bool big_endian;
};

struct entry {
    uint32_t type, count;
    size_t at; /* of the 4 bytes of value or offset */
};

static uint32_t get(const struct tiff *t, size_t at, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)t->data[at + (size_t)i] << 8 * (t->big_endian ? bytes - 1 - i : i);
    return v;
}

static bool tiff_open(struct tiff *t, const uint8_t *block, size_t size)
{
    if (size >= 6 && memcmp(block, "Exif\0\0", 6) == 0) {
        block += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(block, "II*\0", 4) != 0 && memcmp(block, "MM\0*", 4) != 0))
        return false;
    *t = (struct tiff){block, size, block[0] == 'M'};
    return true;
}

/* The entry of a tag in the directory at an offset. */
static bool find(const struct tiff *t, size_t directory, uint32_t tag, struct entry *out)
{
    if (directory > t->size - 2) /* size is 8 at least */
        return false;
    size_t n = get(t, directory, 2);
    for (size_t i = 0; i < n; i++) {
        size_t at = directory + 2 + i * 12;
        if (at > t->size - 8 || t->size - at < 12)
            return false;
        if (get(t, at, 2) == tag) {
            *out = (struct entry){get(t, at + 2, 2), get(t, at + 4, 4), at + 8};
            return true;
        }
    }
    return false;
}

int image_exif_orientation(const uint8_t *block, size_t size)
{
    struct tiff t;
    struct entry e;
    if (!tiff_open(&t, block, size) || !find(&t, get(&t, 4, 4), TAG_ORIENTATION, &e) ||
        e.type != TYPE_SHORT || e.count != 1)
        return 1;
    uint32_t v = get(&t, e.at, 2);
    return v >= 1 && v <= 8 ? (int)v : 1;
}

static uint32_t unit(const uint8_t *p, bool little)
{
    return little ? (uint32_t)p[1] << 8 | p[0] : (uint32_t)p[0] << 8 | p[1];
}

static bool is_ascii(uint32_t c)
{
    return c == '\n' || (c >= ' ' && c <= '~');
}

/* UTF-16 to UTF-8. Writers disagree about the byte order: EXIF says TIFF's, most use big endian
 * regardless. Real text has ASCII in it, which tells. */
static char *from_utf16(const uint8_t *p, size_t bytes)
{
    size_t units = bytes / 2, ascii[2] = {0};
    for (size_t i = 0; i < units; i++) {
        ascii[0] += is_ascii(unit(p + 2 * i, false));
        ascii[1] += is_ascii(unit(p + 2 * i, true));
    }
    bool little = ascii[1] > ascii[0];
    char *text = malloc(units * 3 + 1), *out = text; /* a unit makes three bytes at most */
    if (!text)
        return NULL;
    for (size_t i = 0; i < units; i++) {
        uint32_t c = unit(p + 2 * i, little);
        if (c >= 0xD800 && c < 0xDC00 && i + 1 < units) {
            uint32_t low = unit(p + 2 * i + 2, little);
            if (low >= 0xDC00 && low < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                i++;
            }
        }
        if (c == 0)
            break;
        if (c != 0xFEFF) /* the byte order mark */
            out = utf8_put(out, c);
    }
    *out = '\0';
    return text;
}

/* Bytes up to a zero as UTF-8, malformed ones replaced. */
static char *from_bytes(const uint8_t *p, size_t bytes)
{
    char *raw = malloc(bytes + 1), *text = malloc(bytes * 3 + 1), *out = text;
    if (raw && text) {
        memcpy(raw, p, bytes);
        raw[bytes] = '\0';
        const char *at = raw;
        for (uint32_t c; (c = utf8_next(&at)) != 0;)
            out = utf8_put(out, c);
        *out = '\0';
    } else {
        free(text);
        text = NULL;
    }
    free(raw);
    return text;
}

char *image_exif_comment(const uint8_t *block, size_t size)
{
    struct tiff t;
    struct entry e;
    if (!tiff_open(&t, block, size) || !find(&t, get(&t, 4, 4), TAG_EXIF_DIRECTORY, &e) ||
        !find(&t, get(&t, e.at, 4), TAG_USER_COMMENT, &e) || e.count < CODE_SIZE)
        return NULL;
    size_t at = get(&t, e.at, 4), n = e.count;
    if (at > t.size || n > t.size - at)
        return NULL;
    const uint8_t *p = t.data + at;
    if (memcmp(p, "UNICODE\0", CODE_SIZE) == 0)
        return from_utf16(p + CODE_SIZE, n - CODE_SIZE);
    if (memcmp(p, "ASCII\0\0\0", CODE_SIZE) == 0 || memcmp(p, "\0\0\0\0\0\0\0\0", CODE_SIZE) == 0)
        return from_bytes(p + CODE_SIZE, n - CODE_SIZE);
    return from_bytes(p, n); /* written without a code */
}

static uint8_t *put(uint8_t *out, uint32_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *out++ = (uint8_t)(value >> 8 * i);
    return out;
}

/* A directory of one entry, at the end of the chain. */
static uint8_t *put_directory(uint8_t *out, uint32_t tag, uint32_t type, uint32_t count,
                              uint32_t value)
{
    out = put(out, 1, 2);
    out = put(out, tag, 2);
    out = put(out, type, 2);
    out = put(out, count, 4);
    out = put(out, value, 4);
    return put(out, 0, 4);
}

uint8_t *image_exif_build(const char *text, size_t max_size, size_t *size)
{
    size_t room = strlen(text) * 2; /* a byte of UTF-8 makes a unit at most */
    if (room > max_size - HEAD_SIZE - CODE_SIZE)
        room = max_size - HEAD_SIZE - CODE_SIZE;
    uint8_t *block = malloc(HEAD_SIZE + CODE_SIZE + room);
    if (!block)
        return NULL;
    uint8_t *start = block + HEAD_SIZE + CODE_SIZE, *out = start;
    for (uint32_t c; (c = utf8_next(&text)) != 0;) {
        size_t need = c < 0x10000 ? 2 : 4;
        if (need > room - (size_t)(out - start))
            break;
        if (need == 2) {
            out = put(out, c, 2);
        } else {
            out = put(out, 0xD800 + ((c - 0x10000) >> 10), 2);
            out = put(out, 0xDC00 + ((c - 0x10000) & 0x3FF), 2);
        }
    }
    *size = (size_t)(out - block);

    memcpy(block, "MM\0*", 4);
    out = put(block + 4, 8, 4);
    out = put_directory(out, TAG_EXIF_DIRECTORY, TYPE_LONG, 1, 8 + DIRECTORY_SIZE);
    out = put_directory(out, TAG_USER_COMMENT, TYPE_UNDEFINED, (uint32_t)(*size - HEAD_SIZE),
                        HEAD_SIZE);
    memcpy(out, "UNICODE\0", CODE_SIZE);
    return block;
}
