/* brownian.c: The interval is halved again and again. Of a node with increment W over a left part
 * of length l and a right part of length r, the left part's increment is W l / (l + r) + sqrt(l r /
 * (l + r)) N and the right part's is the rest (Lévy's construction). N comes from a seed of the
 * node's own, so that nothing has to be kept: a query walks from the root to its two ends. Times
 * are rounded to DIGITS decimals, which is also where the halving ends. */
#include "engine/sample/brownian.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/sample/noise.h"

#define DIGITS 6
#define POOL 24      /* words of numpy's SeedSequence, as BrownianTree asks for */
#define DEPTH_MAX 64 /* lengths of 1e-6 are reached after 24 of a span of 15 */

/* Rounds the decimal expansion of the exact value, as Python's round() does: midpoints of two
 * rounded times lie on the edge, where scaling by 1e6 first would round twice. */
static double round_time(double t)
{
    char text[64];
    snprintf(text, sizeof text, "%.*f", DIGITS, t);
    return strtod(text, NULL);
}

/* The first word that numpy.random.SeedSequence(entropy, spawn_key=key, pool_size=POOL) generates
 * (O'Neill's seed_seq): hashed words are mixed into a pool, each into every other. */
static uint32_t hash(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix(uint32_t x, uint32_t y)
{
    uint32_t v = 0xca01f9ddu * x - 0x4973f715u * y;
    return v ^ v >> 16;
}

static uint32_t seed_sequence(uint64_t entropy, const uint32_t *key, int keys)
{
    uint32_t pool[POOL], constant = 0x43b0d7e5u;
    for (int i = 0; i < POOL; i++) {
        uint32_t word = i == 0 ? (uint32_t)entropy : i == 1 ? (uint32_t)(entropy >> 32) : 0;
        pool[i] = hash(word, &constant, 0x931e8875u);
    }
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix(pool[to], hash(pool[from], &constant, 0x931e8875u));
    for (int from = 0; from < keys; from++)
        for (int to = 0; to < POOL; to++)
            pool[to] = mix(pool[to], hash(key[from], &constant, 0x931e8875u));
    constant = 0x8b51f9ddu;
    return hash(pool[0], &constant, 0x58f38dedu);
}

static void draw(const struct brownian *b, uint32_t seed, float *out, size_t n)
{
    struct noise noise;
    noise_init(&noise, b->kind, seed);
    noise_draw(&noise, out, n);
}

/* out += sign * (the path from the low end to `t`). */
static void add_path(const struct brownian *b, double t, float sign, float *out, float *w,
                     float *fresh, size_t n)
{
    double start = round_time(b->low), end = round_time(b->high);
    uint32_t key[2] = {0, 0}; /* of the node: its number within its depth, its depth */
    if (t <= start)
        return;
    draw(b, seed_sequence(b->seed, NULL, 0), w, n);
    float scale = (float)sqrt(b->high - b->low);
    for (size_t i = 0; i < n; i++)
        w[i] *= scale;
    while (t < end && key[1] < DEPTH_MAX) {
        double middle = round_time(0.5 * (start + end)), length = end - start;
        float share = (float)((middle - start) / length);
        float spread = (float)sqrt((middle - start) * (end - middle) / length);
        bool left = t <= middle;
        draw(b, seed_sequence(b->seed, key, 2), fresh, n);
        for (size_t i = 0; i < n; i++) {
            float part = share * w[i] + spread * fresh[i];
            if (left) {
                w[i] = part;
            } else {
                out[i] += sign * part;
                w[i] -= part;
            }
        }
        key[0] = 2 * key[0] + !left;
        key[1]++;
        start = left ? start : middle;
        end = left ? middle : end;
    }
    for (size_t i = 0; i < n; i++)
        out[i] += sign * w[i];
}

void brownian_noise(const struct brownian *b, double from, double to, float *out, float *scratch,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = 0;
    add_path(b, round_time(to), 1, out, scratch, scratch + n, n);
    add_path(b, round_time(from), -1, out, scratch, scratch + n, n);
    /* Time runs from high to low: the increment counts negative. */
    float scale = (float)(1 / sqrt(from - to));
    for (size_t i = 0; i < n; i++)
        out[i] *= scale;
}
