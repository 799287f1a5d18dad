#include "engine/model/patches.h"

#include <stddef.h>

/* Where in its latent number k of a token's 4 channels is, the token at row i and column j. */
static size_t place(int i, int j, int k, int width, int channels, enum patches_order order)
{
    int pixel = order == PATCHES_CHANNELS_FIRST ? k % 4 : k / channels;
    int channel = order == PATCHES_CHANNELS_FIRST ? k / 4 : k % channels;
    size_t y = (size_t)(2 * i + pixel / 2), x = (size_t)(2 * j + pixel % 2);
    return (y * (size_t)width + x) * (size_t)channels + (size_t)channel;
}

void patches_cut(const float *latent, int height, int width, int channels, enum patches_order order,
                 float *out)
{
    for (int i = 0; i < height / 2; i++)
        for (int j = 0; j < width / 2; j++)
            for (int k = 0; k < 4 * channels; k++)
                *out++ = latent[place(i, j, k, width, channels, order)];
}

void patches_join(const float *tokens, int height, int width, int channels,
                  enum patches_order order, float *out)
{
    for (int i = 0; i < height / 2; i++)
        for (int j = 0; j < width / 2; j++)
            for (int k = 0; k < 4 * channels; k++)
                out[place(i, j, k, width, channels, order)] = *tokens++;
}
