#include "server/job/composition.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/splitmix.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- for models that know the words of painters ---- */

static const char *const media[] = {
    "An oil painting",        "A watercolour",        "A gouache",       "A pastel drawing",
    "An ink and wash drawing", "A tempera panel",      "A fresco",        "A woodcut",
    "An etching",             "A charcoal drawing",   "An acrylic painting",
    "A palette knife painting",
    "A lithograph",           "A coloured pencil drawing"};
static const char *const schools[] = {
    "in the manner of the Impressionists", "in the manner of the Dutch Golden Age",
    "of the Romantic school",              "in the spirit of the early Renaissance",
    "in the manner of the Fauves",         "as the Expressionists painted",
    "in the clear line of ukiyo-e",        "in the spirit of Art Nouveau",
    "of the Barbizon school",              "in the manner of the Baroque",
    "in a quiet, realist manner",          "as the Post-Impressionists painted",
    "in the manner of the Symbolists",     "with the flat shapes of early modernism"};
static const char *const compositions[] = {
    "seen close, filling the frame",
    "small in a wide, open view",
    "placed off centre against a calm background",
    "seen from a low viewpoint against the sky",
    "seen from above",
    "framed by dark shapes in the foreground",
    "on a diagonal that leads into the distance",
    "symmetrical and still in the middle",
    "with an empty foreground and a high horizon",
    "with a low horizon and a great deal of sky",
    "half hidden behind something nearer",
    "mirrored in still water"};
static const char *const palettes[] = {
    "a palette of ochre, umber and deep blue",
    "muted greens and warm greys",
    "saturated orange against teal",
    "pale rose, cream and silver",
    "black, ivory and one touch of vermilion",
    "cool blues and violets",
    "earth colours with a thread of gold",
    "lemon yellow, turquoise and white",
    "deep crimson and bottle green",
    "soft pastel tones",
    "near monochrome sepia",
    "bright, unmixed colours side by side"};
static const char *const lights[] = {
    "the raking light of early morning", "the long shadows of late afternoon",
    "a single candle in the dark",       "a pale winter sun",
    "light broken by moving clouds",     "moonlight with soft edges",
    "the glow before a storm",           "hazy noon light",
    "light from a window on the left",   "the blue hour after sunset",
    "dappled light under leaves",        "mist that takes away the distance"};
static const char *const surfaces[] = {
    "loose, visible brushwork", "thin glazes and fine detail", "thick impasto",
    "broken strokes of colour", "soft transitions",            "crisp contours",
    "grain of the paper showing through", "bold, simplified shapes"};

/* ---- for the built-in one: what engine/builtin/train/scenes.py says, and no more ---- */

static const char *const plain_media[] = {
    "an oil painting of",   "a watercolor painting of", "a pencil drawing of",
    "a stained glass of",   "an ink line drawing of",   "a painting of",
    "an oil on canvas of",  "a pencil sketch of"};
static const char *const plain_places[] = {
    "in the mountains", "by the sea",   "on a beach",      "in the desert", "in a forest",
    "in a meadow",      "on grass",     "in the snow",     "in a city",     "in space",
    "under water",      "in the sky",   "in a field of flowers"};
static const char *const plain_lights[] = {
    "at sunset", "at night", "by day", "at sunrise", "in the evening", "at dusk",
    "under a starry sky", "in moonlight", "on a sunny day"};

/* ---- choosing ---- */

/* FNV-1a. */
static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h;
}

static const char *pick(uint64_t *state, const char *const *list, size_t count)
{
    return list[splitmix_next(state) % count];
}
#define PICK(list) pick(&state, list, COUNT(list))

/* ---- ideas ---- */

bool composition_check(const char *theme, struct err *err)
{
    size_t size = strlen(theme);
    if (size > COMPOSITION_THEME_MAX)
        return err_set(err, ERR_INVALID, "an idea to compose from has at most %d bytes, got %zu",
                       COMPOSITION_THEME_MAX, size);
    if (strspn(theme, " \t\r\n") == size)
        return err_set(err, ERR_INVALID, "wanted an idea to compose from, got nothing");
    return true;
}

/* Without what ends it as a sentence. */
static char *subject_of(const char *theme, struct err *err)
{
    char *text = strdup(theme);
    if (!text) {
        err_set(err, ERR_INTERNAL, "no memory for a description");
        return NULL;
    }
    composition_clean(text);
    size_t n = strlen(text);
    while (n && strchr(".,;!", text[n - 1]))
        text[--n] = '\0';
    return text;
}

char *composition_words(const char *theme, uint64_t seed, bool plain, struct err *err)
{
    uint64_t state = seed ^ hash(theme);
    char *subject = subject_of(theme, err), *text = NULL;
    if (!subject)
        return NULL;
    int n;
    if (plain) {
        const char *medium = PICK(plain_media), *place = PICK(plain_places);
        n = asprintf(&text, "%s %s %s %s", medium, subject, place, PICK(plain_lights));
    } else {
        const char *medium = PICK(media), *school = PICK(schools), *how = PICK(compositions);
        const char *palette = PICK(palettes), *light = PICK(lights);
        n = asprintf(&text, "%s of %s, %s; %s; %s; %s; %s", medium, subject, school, how, palette,
                     light, PICK(surfaces));
    }
    free(subject);
    if (n >= 0)
        return text;
    err_set(err, ERR_INTERNAL, "no memory for a description");
    return NULL;
}

void composition_clean(char *text)
{
    char *to = text;
    bool blank = true;
    for (const char *p = text; *p; p++) {
        bool space = isspace((unsigned char)*p) || (unsigned char)*p < ' ' || *p == 0x7f ||
                     strchr("()[]{}<>|\\*#", *p);
        if (space && blank)
            continue;
        *to++ = space ? ' ' : *p;
        blank = space;
    }
    while (to > text && to[-1] == ' ')
        to--;
    *to = '\0';
    size_t n = (size_t)(to - text);
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
        memmove(text, text + 1, n - 2);
        text[n - 2] = '\0';
    }
}
