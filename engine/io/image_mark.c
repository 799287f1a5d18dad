/* image_mark.c: the packet is one fixed text, so it is written down, not built. */
#include "engine/io/image_mark.h"

#include <ctype.h>
#include <string.h>

#define VOCABULARY "cv.iptc.org/newscodes/digitalsourcetype/"
#define LENGTH_MAX 65000 /* of a packet in one marker of a JPEG */
#define TRAINED "trainedAlgorithmicMedia"
#define COMPOSITE "compositeWithTrainedAlgorithmicMedia"

/* The id is the standard's own; the mark of the byte order is U+FEFF in UTF-8. */
#define PACKET(type)                                                                               \
    "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"                         \
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"                                                     \
    " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"                       \
    "  <rdf:Description rdf:about=\"\"\n"                                                          \
    "    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"                                             \
    "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"                      \
    "    xmp:CreatorTool=\"pictor " PICTOR_VERSION "\"\n"                                          \
    "    Iptc4xmpExt:DigitalSourceType=\"http://" VOCABULARY type "\"/>\n"                         \
    " </rdf:RDF>\n"                                                                                \
    "</x:xmpmeta>\n"                                                                               \
    "<?xpacket end=\"w\"?>"

const char *image_mark_packet(enum image_mark mark)
{
    switch (mark) {
    case IMAGE_MARK_TRAINED:
        return PACKET(TRAINED);
    case IMAGE_MARK_COMPOSITE:
        return PACKET(COMPOSITE);
    case IMAGE_MARK_NONE:
        break;
    }
    return "";
}

/* Whether the term stands there as a whole. */
static bool says(const char *at, const char *term)
{
    size_t n = strlen(term);
    return strncmp(at, term, n) == 0 && !isalnum((unsigned char)at[n]);
}

enum image_mark image_mark_read(const struct image_texts *texts)
{
    const char *at = image_texts_get(texts, IMAGE_MARK_KEY);
    while (at && (at = strstr(at, VOCABULARY))) {
        at += strlen(VOCABULARY);
        if (says(at, TRAINED))
            return IMAGE_MARK_TRAINED;
        if (says(at, COMPOSITE))
            return IMAGE_MARK_COMPOSITE;
    }
    return IMAGE_MARK_NONE;
}

size_t image_mark_keep(const struct image_texts *texts, struct image_text *out)
{
    static const char *const keys[IMAGE_MARK_KEPT] = {"parameters", IMAGE_MARK_KEY};
    size_t count = 0;
    for (int i = 0; i < IMAGE_MARK_KEPT; i++) {
        const char *value = image_texts_get(texts, keys[i]);
        if (value && (i == 0 || strlen(value) <= LENGTH_MAX))
            out[count++] = (struct image_text){(char *)keys[i], (char *)value};
    }
    return count;
}

enum image_mark image_mark_after(enum image_mark before)
{
    return before == IMAGE_MARK_TRAINED ? IMAGE_MARK_TRAINED : IMAGE_MARK_COMPOSITE;
}
