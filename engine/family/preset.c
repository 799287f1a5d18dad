/* preset.c: Numbers are the publishers': model cards of SD-Turbo and SDXL-Turbo, of SDXL-Lightning
 * (Lin et al. 2024), of Hyper-SD (Ren et al. 2024), of latent consistency models; for what others
 * made of them, the middle of what its makers recommend. Their "trailing" timesteps are what SD
 * front ends call SGM Uniform. */
#include "engine/family/preset.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_ROOM 272

/* In lower case, what is neither letter nor digit as an underscore, one in front and behind. */
static void plain(const char *name, char out[NAME_ROOM])
{
    size_t n = 0;
    out[n++] = '_';
    for (const char *c = name; *c && n < NAME_ROOM - 2; c++) {
        bool kept = isalnum((unsigned char)*c);
        out[n++] = kept ? (char)tolower((unsigned char)*c) : '_';
    }
    out[n++] = '_';
    out[n] = '\0';
}

/* N of "Nstep", of a few; 0: no such number. */
static int steps_in(const char *name)
{
    const char *step = strstr(name, "step");
    while (step && step > name && step[-1] == '_')
        step--;
    const char *number = step;
    while (number && number > name && isdigit((unsigned char)number[-1]))
        number--;
    int steps = number && number < step ? atoi(number) : 0;
    return steps >= 1 && steps <= 16 ? steps : 0;
}

bool preset_of_name(const char *name, struct preset *out)
{
    static const struct {
        const char *word; /* with its underscores: a whole word, or the name's beginning */
        bool first;       /* the name begins with it */
        bool counted;     /* the name may say how many steps */
        struct preset preset;
    } presets[] = {
        {"_sd_turbo", true, false, {4, 1, "Euler a", "sgm_uniform", 512}},
        {"_sdxl_turbo", true, false, {4, 1, "Euler a", "sgm_uniform", 512}},
        {"_sd_xl_turbo", true, false, {4, 1, "Euler a", "sgm_uniform", 512}},
        {"_sdxl_lightning", true, true, {4, 1, "Euler", "sgm_uniform", 0}},
        {"_lcm_", false, false, {6, 1.5f, "LCM", "automatic", 0}},
        {"lightning", false, true, {6, 2, "Euler", "sgm_uniform", 0}},
        {"_hyper_", false, true, {8, 1, "Euler", "sgm_uniform", 0}},
        {"turbo", false, false, {7, 2, "DPM++ SDE", "karras", 0}},
    };
    char text[NAME_ROOM];
    plain(name, text);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const char *word = presets[i].word, *at = strstr(text, word);
        if (!at || (presets[i].first && at != text))
            continue;
        *out = presets[i].preset;
        if (presets[i].counted && steps_in(text))
            out->steps = steps_in(text);
        return true;
    }
    return false;
}

bool preset_of(const struct checkpoint *cp, struct preset *out)
{
    const char *sampler = checkpoint_scheduler(cp, "_class_name");
    return preset_of_name(
        sampler && strcmp(sampler, "LCMScheduler") == 0 ? "lcm" : checkpoint_name(cp), out);
}
