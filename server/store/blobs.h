/* blobs.h: the files beside the database: DATA/images/ab/ID.png, DATA/inputs/JOB.init, and
 * DATA/files/ID, which clients keep here.
 *
 * A file is whole or not there: it is written under another name (".tmp" at the end), fsynced and
 * renamed, then its folder is fsynced. Ids are checked, so a path never leaves the data folder.
 * Thread-safe. */
#ifndef PICTOR_SERVER_BLOBS_H
#define PICTOR_SERVER_BLOBS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "server/job/job.h" /* enum image_format */

#define BLOBS_PATH_SIZE 4096

/* Makes the folders. */
bool blobs_init(const char *data, struct err *err);

/* False with ERR_INVALID when id, format or name is none of ours. */
bool blobs_image_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id,
                      enum image_format format, struct err *err);
/* What walls of pictures show; made when asked for, and no row knows of it. */
bool blobs_thumb_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id,
                      struct err *err);
bool blobs_input_path(char path[BLOBS_PATH_SIZE], const char *data, const char *job_id,
                      const char *name, struct err *err);

bool blobs_file_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id,
                     struct err *err);

/* Fails with ERR_NO_ROOM, or with ERR_UNAVAILABLE for any other reason. */
bool blobs_write(const char *path, const void *bytes, size_t size, struct err *err);

/* Whether `size` bytes could be written now: writes them and takes them away again. */
bool blobs_probe(const char *data, size_t size, struct err *err);

/* Room that is kept for removing jobs from a full disk, which takes some: DATA/reserve. Makes it
 * unless it is there; ERR_NO_ROOM. */
bool blobs_reserve(const char *data, struct err *err);
/* Gives the room up. */
void blobs_reserve_free(const char *data);

/* The file's descriptor, to read; -1: ERR_IO when it is missing or has not `size` bytes;
 * ERR_UNAVAILABLE when this process is short of descriptors. */
int blobs_open(const char *path, size_t size, struct err *err);

/* The bytes of a file that blobs_open opens; *bytes is malloc'd. ERR_UNAVAILABLE also when memory
 * is short. */
bool blobs_read(const char *path, size_t size, void **bytes, struct err *err);
/* Shows `fn` every file of jobs, with `others` those that clients keep and thumbnails, too, and
 * whatever else lies there and is no folder, until it returns false. */
struct stat;
bool blobs_walk(const char *data, bool others,
                bool (*fn)(void *ctx, const char *path, const struct stat *info), void *ctx,
                struct err *err);
/* Whether the file was not finished, by its name. */
bool blobs_is_unfinished(const char *path);
/* Moves a file to DATA/lost, under its own name or one made different by a number. */
bool blobs_lose(const char *data, const char *path, struct err *err);

void blobs_remove(const char *path); /* a missing file is fine */
/* With its thumbnail. */
void blobs_remove_image(const char *data, const char *id, enum image_format format);

#endif
