/* blobs.h: the files beside the database: DATA/images/ab/ID.png, DATA/inputs/JOB.init, and
 * DATA/files/ID, which clients keep here.
 *
 * A file is whole or not there: it is written under another name (".tmp" at the end), fsynced and
 * renamed, then its folder is fsynced. Ids are checked, so a path never leaves the data folder.
 *
 * With a bucket (`blobs = s3://...`) a path is only a name: the file is the object that is called
 * what follows DATA/ in it, put before its row is written, as a file is. Files that lie in the
 * folder from before are read there. What was just written or read is also kept in DATA/near, up to
 * a size, so that an answer that follows a picture does not fetch it. Calls then wait for the
 * bucket, up to its deadline, where it says so. Thread-safe. */
#ifndef PICTOR_SERVER_BLOBS_H
#define PICTOR_SERVER_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "engine/base/err.h"
#include "server/job/job.h" /* enum image_format */

#define BLOBS_PATH_SIZE 4096

struct blobs;
struct settings;

/* The files of the data folder `data`, in the folder or, as the settings (NULL: folder) say, in a
 * bucket. Asks the bucket nothing yet. */
struct blobs *blobs_new(const char *data, const struct settings *settings, struct err *err);
void blobs_free(struct blobs *b); /* NULL is fine */

/* Makes the folders. */
bool blobs_init(const struct blobs *b, struct err *err);

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

/* Fails with ERR_NO_ROOM, or with ERR_UNAVAILABLE for any other reason. Waits for the bucket. */
bool blobs_write(struct blobs *b, const char *path, const void *bytes, size_t size,
                 struct err *err);
/* In the folder, whatever the settings say: what is being made, and what is the folder's own. */
bool blobs_write_here(const char *path, const void *bytes, size_t size, struct err *err);
void blobs_remove_here(const char *path);

/* Whether `size` bytes could be written now: writes them and takes them away again. Waits for the
 * bucket a few seconds at most. */
bool blobs_probe(struct blobs *b, size_t size, struct err *err);

/* Room that is kept for removing jobs from a full disk, which takes some: DATA/reserve. Makes it
 * unless it is there; ERR_NO_ROOM. */
bool blobs_reserve(const char *data, struct err *err);
/* Gives the room up. */
void blobs_reserve_free(const char *data);

#define BLOBS_TIGHT (64 << 20)
/* Whether its disk has fewer bytes left than that: who deletes there wants the room at once. */
bool blobs_is_tight(const char *data);

/* The file's descriptor, to read; -1: ERR_IO when it is missing or has not `size` bytes;
 * ERR_UNAVAILABLE when this process is short of descriptors, or the bucket does not answer. Waits
 * for the bucket unless the file is near. */
int blobs_open(struct blobs *b, const char *path, size_t size, struct err *err);
int blobs_open_here(const char *path, size_t size, struct err *err);
/* A file whose size no row says, of at most `most` bytes; ERR_NOT_FOUND. Waits for the bucket, or
 * without `wait` fails with ERR_NONE where it would have to. */
int blobs_open_any(struct blobs *b, const char *path, size_t most, bool wait, size_t *size,
                   struct err *err);
/* As blobs_open, but does not wait: -1 with ERR_NONE when the bucket would have to be asked. */
int blobs_open_near(struct blobs *b, const char *path, size_t size, struct err *err);
/* The path under which the file's bytes lie on this machine now and for some minutes, malloc'd.
 * Fails and waits as blobs_open. */
char *blobs_path(struct blobs *b, const char *path, size_t size, struct err *err);
/* An address of the bucket's at which anybody can read the file for `seconds`, if clients are to be
 * sent there (`bucket_gets = redirect`); else NULL. `file_name` as bucket_link. malloc'd. */
char *blobs_link(struct blobs *b, const char *path, const char *file_name, int seconds);

/* The bytes of a file that blobs_open opens; *bytes is malloc'd. ERR_UNAVAILABLE also when memory
 * is short. */
bool blobs_read(struct blobs *b, const char *path, size_t size, void **bytes, struct err *err);
bool blobs_read_here(const char *path, size_t size, void **bytes, struct err *err);
/* What was written at `temporary` on this disk, whole and synced, gets its place. */
bool blobs_adopt(struct blobs *b, const char *temporary, const char *path, size_t size,
                 struct err *err);
/* Shows `fn` every file of jobs, with `others` those that clients keep and thumbnails, too, and
 * whatever else lies there and is no folder, until it returns false. */
struct stat;
typedef bool blobs_fn(void *ctx, const char *path, const struct stat *info);
bool blobs_walk_here(const char *data, bool others, blobs_fn *fn, void *ctx, struct err *err);
/* All files, those in the bucket after those in the folder. */
bool blobs_walk(struct blobs *b, blobs_fn *fn, void *ctx, struct err *err);
/* Shows `fn` the uploads to the bucket, begun before `before`, that nobody finished, and ends them
 * if `end`. */
bool blobs_tidy(struct blobs *b, time_t before, bool end, blobs_fn *fn, void *ctx,
                struct err *err);
/* Whether the file was not finished, by its name. */
bool blobs_is_unfinished(const char *path);
/* Moves a file to DATA/lost, under its own name or one made different by a number; an object to
 * lost/ in its bucket. */
bool blobs_lose(struct blobs *b, const char *path, struct err *err);
bool blobs_lose_here(const char *data, const char *path, struct err *err);
/* A file that is gone from the bucket, put there again from what is near; false: it is not near. */
bool blobs_restore(struct blobs *b, const char *path, size_t size, struct err *err);

/* A missing file is fine. In a bucket it goes soon: nobody waits for that. */
void blobs_remove(struct blobs *b, const char *path);
/* With its thumbnail. */
void blobs_remove_image(struct blobs *b, const char *id, enum image_format format);

#endif
