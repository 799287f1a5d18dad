/* novelai.h: what NovelAI writes into its pictures, as an infotext. Thread-safe; no state. */
#ifndef PICTOR_SERVER_NOVELAI_H
#define PICTOR_SERVER_NOVELAI_H

#include "engine/io/image.h"

/* The text that the SD WebUI makes of it, whose samplers and settings of clip skip and ENSD are
 * those that paint alike. `width`, `height` are the picture's. malloc'd; NULL: it is not NovelAI's,
 * or says nothing that can be read. */
char *novelai_infotext(const struct image_texts *texts, int width, int height);

#endif
