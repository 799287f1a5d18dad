/* image_mark.h: what a picture says by machine of how it came about: an XMP packet (ISO 16684-1)
 * with the property DigitalSourceType of the IPTC's photo metadata standard, whose value is a URI
 * of the IPTC's vocabulary, and with the name of the tool. It travels as a text of image.h under
 * IMAGE_MARK_KEY: PNG's iTXt chunk, JPEG's APP1, WebP's XMP chunk. No state; any thread. */
#ifndef PICTOR_ENGINE_IO_IMAGE_MARK_H
#define PICTOR_ENGINE_IO_IMAGE_MARK_H

#include "engine/io/image.h"

/* PNG's own key for XMP; in the other formats it stands for the place that they have for it. */
#define IMAGE_MARK_KEY "XML:com.adobe.xmp"

enum image_mark {
    IMAGE_MARK_NONE,
    IMAGE_MARK_TRAINED,  /* trainedAlgorithmicMedia: a model painted all of it */
    IMAGE_MARK_COMPOSITE /* compositeWithTrainedAlgorithmicMedia: from a picture that says of itself
                            no such thing */
};

/* The packet; "" for IMAGE_MARK_NONE. Static. */
const char *image_mark_packet(enum image_mark mark);

/* What the texts of a picture say, whoever wrote them. */
enum image_mark image_mark_read(const struct image_texts *texts);

/* What is said of a picture that was painted over one of which `before` is known. */
enum image_mark image_mark_after(enum image_mark before);

/* What goes along when a picture's pixels are changed and nothing is painted: how it was painted,
 * and its XMP, if it is of a length that all formats have room for. Borrows from `texts`; `out` has
 * room for IMAGE_MARK_KEPT. Returns how many. */
#define IMAGE_MARK_KEPT 2
size_t image_mark_keep(const struct image_texts *texts, struct image_text *out);

#endif
