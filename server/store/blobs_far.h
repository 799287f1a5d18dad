/* blobs_far.h: the files in a bucket, for blobs.c alone; blobs.h is the contract. */
#ifndef PICTOR_SERVER_BLOBS_FAR_H
#define PICTOR_SERVER_BLOBS_FAR_H

#include "server/store/blobs.h"

struct blobs_far;

struct blobs {
    char *data;
    struct blobs_far *far; /* NULL: the folder alone */
};

struct blobs_far *blobs_far_new(const char *data, const struct settings *settings, struct err *err);
void blobs_far_free(struct blobs_far *f);

bool blobs_far_write(struct blobs_far *f, const char *path, const void *bytes, size_t size,
                     struct err *err);
int blobs_far_open(struct blobs_far *f, const char *path, size_t size, struct err *err);
int blobs_far_open_any(struct blobs_far *f, const char *path, size_t most, bool wait, size_t *size,
                       struct err *err);
int blobs_far_open_near(struct blobs_far *f, const char *path, size_t size);
char *blobs_far_path(struct blobs_far *f, const char *path, size_t size, struct err *err);
char *blobs_far_link(struct blobs_far *f, const char *path, const char *file_name, int seconds);
bool blobs_far_adopt(struct blobs_far *f, const char *temporary, const char *path, size_t size,
                     struct err *err);
void blobs_far_remove(struct blobs_far *f, const char *path);
bool blobs_far_probe(struct blobs_far *f, struct err *err);
bool blobs_far_walk(struct blobs_far *f, blobs_fn *fn, void *ctx, struct err *err);
bool blobs_far_tidy(struct blobs_far *f, time_t before, bool end, blobs_fn *fn, void *ctx,
                    struct err *err);
bool blobs_far_lose(struct blobs_far *f, const char *path, struct err *err);
bool blobs_far_push(struct blobs_far *f, const char *path, bool *there, size_t *size,
                    struct err *err);
bool blobs_far_pull(struct blobs_far *f, const char *path, size_t size, bool *there,
                    struct err *err);
bool blobs_far_drop(struct blobs_far *f, const char *path, struct err *err);
bool blobs_far_restore(struct blobs_far *f, const char *path, size_t size, struct err *err);

#endif
