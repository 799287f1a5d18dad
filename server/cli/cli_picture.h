/* cli_picture.h: pictures' files for commands. */
#ifndef PICTOR_SERVER_CLI_PICTURE_H
#define PICTOR_SERVER_CLI_PICTURE_H

#include "engine/io/image.h"

/* Errors name the path. `out` is owned. */
bool cli_picture_read(const char *path, size_t max_pixels, struct pictor_image *out,
                      struct err *err);

/* By a file's ending; `what` is how the command calls it: "-o". */
bool cli_picture_format(const char *path, const char *what, enum image_format *out,
                        struct err *err);

/* Before minutes are spent on a picture that could not be written. */
bool cli_picture_writable(const char *path, struct err *err);

bool cli_picture_write(const char *path, const struct pictor_image *image, enum image_format format,
                       int quality, const struct image_texts *texts, struct err *err);

/* The texts of a file that cli_picture_read has read; none if it has none. */
bool cli_picture_texts(const char *path, struct image_texts *out, struct err *err);

#endif
