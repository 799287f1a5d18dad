/* latent_test.c: the noise that a picture begins with: variations, and seeds of another size. */
#include "engine/pipeline/latent.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { C = 4, MOST = 64 };

/* Channels first. */
static void draw(const struct pictor_params *p, int width, int height, float *out)
{
    struct err err;
    struct arena arena;
    struct noise noise;
    arena_plan(&arena);
    for (int real = 0; real < 2; real++) {
        struct latent latent = latent_new(&arena, width, height, C);
        latent_draw(&arena, p, 8, &noise, &latent);
        if (!real)
            assert_true(arena_init(&arena, arena.peak, &err));
        else
            for (int i = 0; i < width * height; i++)
                for (int c = 0; c < C; c++)
                    out[c * width * height + i] = latent.at[i * C + c];
    }
    arena_free(&arena);
}

static bool near(float a, double b)
{
    return fabs(a - b) <= 1e-6 * fmax(1, fabs(b));
}

/* The values are SD WebUI's: half way between seeds 1 and 2. */
static void variation(void **state)
{
    static float noise[C * MOST * MOST];
    struct pictor_params p;
    pictor_params_init(&p, NULL);
    p.seed = 1;
    p.subseed = 2;
    p.subseed_strength = 0.5;
    draw(&p, 64, 64, noise);
    assert_true(near(noise[0], -0.20163676) && near(noise[1], 1.49331605) &&
                near(noise[2], 0.39207816) && near(noise[3], -0.68248278));
}

/* A seed's noise of one size in the middle of that of another. */
static void resized(void **state)
{
    static const struct {
        int width, height, from_width, from_height;
        int x, y, from_x, from_y, w, h; /* what is copied */
    } cases[] = {
        {16, 12, 8, 8, 4, 2, 0, 0, 8, 8}, {9, 9, 8, 8, 0, 0, 0, 0, 8, 8},
        {8, 8, 16, 12, 0, 0, 4, 2, 8, 8}, {8, 16, 16, 8, 0, 4, 4, 0, 8, 8},
        {8, 8, 11, 8, 0, 0, 2, 0, 7, 8},  {8, 8, 8, 8, 0, 0, 0, 0, 8, 8},
    };
    static float got[C * MOST * MOST], whole[C * MOST * MOST], small[C * MOST * MOST];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int width = cases[i].width, height = cases[i].height;
        int from_width = cases[i].from_width, from_height = cases[i].from_height;
        struct pictor_params p, plain;
        pictor_params_init(&plain, NULL);
        plain.seed = 7;
        plain.subseed = 9;
        p = plain;
        p.subseed_strength = 0.3;
        draw(&p, from_width, from_height, small);
        draw(&plain, width, height, whole);
        if (from_width == width && from_height == height)
            draw(&p, width, height, whole);
        p.seed_resize_width = 8 * from_width + 7;
        p.seed_resize_height = 8 * from_height;
        draw(&p, width, height, got);
        for (int c = 0; c < C; c++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    int u = x - cases[i].x, v = y - cases[i].y;
                    bool inside = u >= 0 && u < cases[i].w && v >= 0 && v < cases[i].h;
                    float want = inside
                                     ? small[(c * from_height + v + cases[i].from_y) * from_width +
                                             u + cases[i].from_x]
                                     : whole[(c * height + y) * width + x];
                    if (got[(c * height + y) * width + x] != want)
                        fail_msg("case %zu: %d, %d, %d", i, c, y, x);
                }
    }
    struct pictor_params p;
    pictor_params_init(&p, NULL);
    p.seed_resize_width = 64;
    draw(&p, 16, 16, got); /* one side alone is none */
    p.seed_resize_width = 0;
    draw(&p, 16, 16, whole);
    assert_memory_equal(got, whole, sizeof(float) * C * 16 * 16);
}

/* A square of 16 in one twice as wide or high: an edge of 0, 1, 2, ... is drawn out, what is narrow
 * on it is not. */
static void widened(void **state)
{
    enum { SIDE = 16, LONG = 32, MIDDLE = 8 };
    static float square[SIDE * SIDE * 2], all[SIDE * LONG * 2], mask[SIDE * LONG];
    for (int high = 0; high < 2; high++) {
        struct latent_wide out = {{high ? SIDE : LONG, high ? LONG : SIDE, 2, all}, mask};
        int along = high ? 1 : SIDE,
            across = high ? SIDE : 1; /* of the square, then of the canvas */
        int to_along = high ? 1 : LONG, to_across = high ? SIDE : 1;
        for (int k = 0; k < SIDE; k++)
            for (int i = 0; i < SIDE; i++)
                for (int c = 0; c < 2; c++) {
                    bool narrow = i >= 6 && i < 11;
                    square[2 * (k * across + i * along) + c] =
                        narrow && c ? 50 : (float)(i < 8 ? 0 : 4) + (float)(10 * c);
                }
        latent_widen(square, &out);
        for (int k = 0; k < LONG; k++)
            for (int i = 0; i < SIDE; i++) {
                int to = k * to_across + i * to_along, inside = k - MIDDLE;
                int near_edge = inside < SIDE - 1 - inside ? inside : SIDE - 1 - inside;
                bool beyond = near_edge < 0;
                int from = beyond ? 0 : inside * across + i * along;
                assert_true(all[2 * to] == (i < 8 ? 0 : 4));
                float second = all[2 * to + 1];
                assert_true(beyond ? second < 20 : second == square[2 * from + 1]);
                assert_true(near(mask[to], near_edge < 0    ? 1
                                           : near_edge == 0 ? 2 / 3.0
                                           : near_edge == 1 ? 1 / 3.0
                                                            : 0));
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variation),
        cmocka_unit_test(resized),
        cmocka_unit_test(widened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
