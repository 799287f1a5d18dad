/* esrgan.h: networks that enlarge pictures: RRDBNet (ESRGAN, Wang et al. 2018; Real-ESRGAN, 2021)
 * and SRVGGNetCompact (Real-ESRGAN's small one).
 *
 * RRDBNet comes under three sets of names: `model.1.sub.0.RDB1.conv1.0` (ESRGAN's old files),
 * `RRDB_trunk.0.RDB1.conv1` (its later ones) and `body.0.rdb1.conv1` (Real-ESRGAN's);
 * SRVGGNetCompact under `body.0`. All of them may stand below `params_ema.` or `params.`. The
 * numbers of channels, blocks and doublings are read from the tensors, the scale from both. */
#ifndef PICTOR_ENGINE_MODEL_ESRGAN_H
#define PICTOR_ENGINE_MODEL_ESRGAN_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"

struct esrgan;

struct esrgan_config {
    bool compact;      /* SRVGGNetCompact; else RRDBNet */
    int names;         /* of RRDBNet, which set */
    const char *below; /* "", or what every name begins with */
    int features;      /* channels between layers */
    int grow;          /* channels that each layer of a dense block adds */
    int blocks;        /* residual blocks of three dense ones; SRVGGNetCompact: layers between the
                          first and the last */
    int unshuffle;     /* 1, 2 or 4: so many pixels a side are channels of one in the input */
    int doublings;     /* of RRDBNet's picture at the end */
    int scale;         /* pixels a side that one becomes: 1, 2, 3, 4, 8 */
};

/* What the network is, from the header alone. ERR_UNSUPPORTED says what it is instead. */
bool esrgan_read(const struct checkpoint *cp, struct esrgan_config *out, struct err *err);

/* The checkpoint may be freed afterwards. Returns owned; free before the device. */
struct esrgan *esrgan_load(struct device *dev, const struct checkpoint *cp, struct err *err);
void esrgan_free(struct esrgan *e);
const struct esrgan_config *esrgan_config(const struct esrgan *e);
size_t esrgan_bytes(const struct esrgan *e); /* of weights, packed */

/* Asked between layers with how much is done, 0..1; false: no more. */
struct esrgan_watch {
    bool (*go_on)(void *ctx, double share);
    void *ctx;
};

/* out [scale h, scale w, 3] = what the network makes of in [h, w, 3], both in 0..1, the output not
 * clamped; h and w are multiples of `unshuffle`. False: `watch` (may be NULL) stopped it. */
bool esrgan_forward(struct ops *o, const struct esrgan *e, const struct esrgan_watch *watch,
                    const float *in, int h, int w, float *out);

/* Large pictures are enlarged in tiles, which overlap by what a pixel sees of its surroundings:
 * all of it in SRVGGNetCompact, whose tiles cannot be told from the whole; most of it in RRDBNet,
 * where they are faded into each other.
 *
 * The side of the largest tiles with which a picture of w x h pixels takes no more than `room`
 * bytes; 0: it takes more with the smallest, and `least`, if not NULL, says how much. */
int esrgan_tile(struct device *dev, const struct esrgan *e, int w, int h, size_t room,
                size_t *least);

/* out [scale h, scale w, 3] from in [h, w, 3], 8-bit RGB, in tiles of this side. ERR_CANCELLED: the
 * watch ended it; ERR_INVALID: what the network makes are no numbers. */
bool esrgan_enlarge(struct ops *o, const struct esrgan *e, int tile,
                    const struct esrgan_watch *watch, const uint8_t *in, int w, int h, uint8_t *out,
                    struct err *err);

#endif
