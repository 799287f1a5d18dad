/* codec.h: pictures are decoded and encoded in processes of their own.
 *
 * What clients and upstreams send is hostile, and the libraries that read pictures are where
 * servers are taken over. So no byte of a picture is read in the process that holds keys, database
 * and network: a few sandboxed processes (`pictor worker --codec`, server/worker/worker_codec.c) do
 * it, apart from the one that paints, so that a picture is read while another one is painted. One
 * that dies of a picture is replaced at once, and only the request with that picture fails. They
 * may have been taken over, too: what they say is checked.
 *
 * Calls wait for the result, milliseconds as a rule. Any thread. */
#ifndef PICTOR_SERVER_CODEC_H
#define PICTOR_SERVER_CODEC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/io/image.h"

struct codec;
struct upscaler_file;

/* Where the kernel has no seccomp they start only if `unconfined`. `max_pixels` of any picture, for
 * the memory that they may use. `threads` enlarge a picture, 0: one per available CPU. Returns at
 * once; the processes start behind it. Returns owned. */
struct codec *codec_new(bool unconfined, size_t max_pixels, int threads, struct err *err);
void codec_free(struct codec *c); /* when nobody calls any more; NULL is fine */

/* As image_probe, image_decode and image_texts_read, and owned as there. What killed its process is
 * ERR_INVALID; ERR_BUSY when all were busy for too long. */
bool codec_probe(struct codec *c, const void *data, size_t size, struct image_header *out,
                 struct err *err);
bool codec_decode(struct codec *c, const void *data, size_t size, size_t max_pixels,
                  struct pictor_image *out, struct err *err);
bool codec_texts(struct codec *c, const void *data, size_t size, struct image_texts *out,
                 struct err *err);

/* As image_encode. */
bool codec_encode(struct codec *c, const struct pictor_image *image, enum image_format format,
                  int quality, const struct image_texts *texts, struct image_file *out,
                  struct err *err);

/* `in` as RGB at another size, as pictor_upscale makes it with the network of `file`, or the one
 * inside the binary if that has no name; it takes seconds to minutes. One at a time, so that there
 * is always a process for other pictures: ERR_BUSY, at once, while there is another one. `gone`
 * becomes true when nobody waits for it any more: ERR_CANCELLED. */
bool codec_upscale(struct codec *c, const struct upscaler_file *file, const struct pictor_image *in,
                   int width, int height, const atomic_bool *gone, struct pictor_image *out,
                   struct err *err);
/* Whether another one would have to wait. */
bool codec_is_upscaling(struct codec *c);

/* For /metrics: how many were started; as many as there are when none ever died. */
unsigned codec_starts(struct codec *c);

#endif
