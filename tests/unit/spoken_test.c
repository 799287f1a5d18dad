/* spoken_test.c: prompts that change and prompts of several prompts against the golden tensors of
 * tests/golden ("prompts"): which call of the network takes which prompt, how answers are added up,
 * and what the modes of emphasis make of weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/io/checkpoint.h"
#include "tests/unit/golden_model.h"

#define PROMPTS "tests/golden/tiny/prompts.safetensors"

static struct family_words words_named(struct fixture *f, const char *name)
{
    const struct raw_tensor *t = want(f->golden, name);
    return (struct family_words){.tokens = (int)t->shape[0], .states = t->data};
}

/* Texts are letters, of which each is a golden prompt. */
static struct family_words *words_of_texts(struct fixture *f, const struct editing *e)
{
    struct family_words *words = calloc(e->text_count, sizeof *words);
    assert_non_null(words);
    for (size_t i = 0; i < e->text_count; i++) {
        const char *letter = e->texts[i] + strspn(e->texts[i], " ");
        words[i] = words_named(f, *letter == 'c'   ? "prompt"
                                  : *letter == 'd' ? "unicode"
                                  : *letter == 'l' ? "longer"
                                                   : "empty");
    }
    return words;
}

static void check_prompts(struct fixture *f)
{
    static const struct {
        const char *prompt, *negative, *sampler, *scheduler, *golden;
    } cases[] = {
        {"c :1.2 AND l :0.5", "", "Euler", "uniform", "joined.euler"},
        {"c AND d:-0.5 AND :0.7", "d", "Euler", "karras", "joined.three"},
        {"c:1.5", "", "Euler", "uniform", "weighted.euler"},
        {"[c|d]", "", "Euler", "uniform", "turns.euler"},
        {"[c:d:4]", "[d:7]", "Euler", "karras", "edited.euler"},
        {"[c:d:0.5]", "", "Heun", "karras", "edited.heun"},
        {"[c|d]:0.8 AND d:0.4", "", "Euler", "uniform", "mixed.euler"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_params p = f->params;
        struct editing_pass passes[2];
        struct spoken spoken = {0};
        struct err err;
        p.sampler = cases[i].sampler;
        p.steps = 10;
        assert_int_equal(family_passes(&p, passes), 1);
        assert_true(
            wording_parse(cases[i].prompt, cases[i].negative, &passes[0], &spoken.wording, &err));
        for (int k = 0; k <= spoken.wording.count; k++)
            spoken.words[k] = words_of_texts(f, &spoken.wording.parts[k].editing);
        check_spoken(f, cases[i].sampler, cases[i].scheduler, cases[i].golden, &spoken);
        spoken_free(&spoken);
    }
}

/* Several texts are weighed together, each as often as it is there. */
static void check_emphasis(struct fixture *f)
{
    static const struct {
        enum pictor_emphasis emphasis;
        const char *name;
    } modes[] = {{PICTOR_EMPHASIS_ORIGINAL, "original"},
                 {PICTOR_EMPHASIS_NO_NORM, "no_norm"},
                 {PICTOR_EMPHASIS_IGNORE, "ignore"}};
    static const char *const texts[] = {"a photo (of an:1.5) astronaut riding a horse on mars",
                                        "a cat \xf0\x9f\x90\xb1 and (a:0.7) dog\xf0\x9f\x90\xb6!"};
    static const int uses[] = {2, 1};
    struct pictor_params p = f->params;
    char name[64];
    for (int i = 0; i < 3; i++)
        for (size_t count = 1; count <= 2; count++) {
            struct family_words words[2];
            struct family_prompt prompt = {texts, uses, count, false};
            p.emphasis = modes[i].emphasis;
            RUN(f, assert_true(f->m->family->words(f->m, &o, &p, &prompt, words, &err)));
            for (size_t k = 0; k < count; k++) {
                snprintf(name, sizeof name, "%s.%s", modes[i].name,
                         count == 1 ? "alone"
                         : k == 0   ? "first"
                                    : "second");
                check(f, name, words[k].states, want(f->golden, name));
            }
        }
}

/* Brackets that are text, and a text with fewer chunks than another one gets empty ones. */
static void check_reading(struct fixture *f)
{
    struct pictor_params p = f->params;
    struct family_words plain, literal, both[2];
    char longer[400] = "";
    for (int i = 0; i < 90; i++)
        strcat(longer, "cat ");
    const char *const texts[] = {"(a cat)", longer};
    struct family_prompt prompt = {texts, NULL, 2, false};
    RUN(f, assert_true(words_ask(f->m, &o, &p, "\\(a cat\\)", false, &plain, &err)));
    p.emphasis = PICTOR_EMPHASIS_NONE;
    RUN(f, assert_true(words_ask(f->m, &o, &p, "(a cat)", false, &literal, &err)));
    RUN(f, assert_true(f->m->family->words(f->m, &o, &p, &prompt, both, &err)));
    assert_int_equal(both[0].tokens, 154);
    assert_int_equal(both[1].tokens, 154);
    assert_memory_equal(plain.states, literal.states, (size_t)77 * 64 * sizeof(float));
    assert_memory_equal(both[0].states, literal.states, (size_t)77 * 64 * sizeof(float));
    RUN(f, assert_true(words_ask(f->m, &o, &p, "", false, &plain, &err)));
    assert_memory_equal(both[0].states + (size_t)77 * 64, plain.states,
                        (size_t)77 * 64 * sizeof(float));
}

static void at_level(const char *level)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(PROMPTS),
                        .params = {.guidance = 7.5f, .clip_skip = 1, .comma_backtrack = 20},
                        .limit = 1e-4};
    if (!cp || !f.dev || !(f.m = family_sd1.open(f.dev, cp, &err)))
        fail_msg("%s", err.msg);
    check_prompts(&f);
    check_emphasis(&f);
    check_reading(&f);
    family_sd1.free(f.m);
    safetensors_close(f.golden);
    checkpoint_free(cp);
    device_free(f.dev);
}

static void test_best_level(void **state)
{
    at_level(NULL);
}

static void test_scalar(void **state)
{
    at_level("scalar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_level),
        cmocka_unit_test(test_scalar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
