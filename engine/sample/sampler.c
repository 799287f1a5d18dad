/* sampler.c: The table, how names find it, and what all loops share. */
#include "engine/sample/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/sample/adams.h"
#include "engine/sample/dpm.h"
#include "engine/sample/dpm_solver.h"
#include "engine/sample/dpm_sde.h"
#include "engine/sample/euler.h"
#include "engine/sample/lms.h"
#include "engine/sample/sampler_loop.h"
#include "engine/sample/unipc.h"

static const struct sampler samplers[] = {
    {.info = {.name = "DPM++ 2M", .alias = "k_dpmpp_2m", .default_scheduler = "karras"},
     .flow = true,
     .buffers = 2,
     .loop = dpm_pp_2m},
    {.info = {.name = "DPM++ SDE",
              .alias = "k_dpmpp_sde",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .sde = true,
              .second_order = true},
     .flow = true,
     .buffers = 6,
     .loop = dpm_sde_single},
    {.info = {.name = "DPM++ 2M SDE",
              .alias = "k_dpmpp_2m_sde",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .sde = true},
     .flow = true,
     .buffers = 5,
     .loop = dpm_sde_2m},
    {.info = {.name = "DPM++ 2M SDE Heun",
              .alias = "k_dpmpp_2m_sde_heun",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .sde = true},
     .buffers = 5,
     .loop = dpm_sde_2m_heun},
    {.info = {.name = "DPM++ 2S a",
              .alias = "k_dpmpp_2s_a",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .ancestral = true,
              .second_order = true},
     .other_alias = "k_dpmpp_2s_ancestral",
     .flow = true,
     .buffers = 3,
     .loop = dpm_pp_2s_ancestral},
    {.info = {.name = "DPM++ 3M SDE",
              .alias = "k_dpmpp_3m_sde",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .sde = true},
     .discard_next_to_last = true,
     .buffers = 6,
     .loop = dpm_sde_3m},
    {.info = {.name = "Euler a",
              .alias = "k_euler_a",
              .default_scheduler = "uniform",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true},
     .other_alias = "k_euler_ancestral",
     .flow = true,
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "Euler",
              .alias = "k_euler",
              .default_scheduler = "uniform",
              .churns = true,
              .scales_noise = true},
     .flow = true,
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "LMS", .alias = "k_lms", .default_scheduler = "uniform"},
     .buffers = 5,
     .loop = lms_loop},
    {.info = {.name = "Heun",
              .alias = "k_heun",
              .default_scheduler = "uniform",
              .churns = true,
              .scales_noise = true,
              .second_order = true},
     .flow = true,
     .buffers = 3,
     .loop = euler_heun},
    {.info = {.name = "DPM2",
              .alias = "k_dpm_2",
              .default_scheduler = "karras",
              .churns = true,
              .scales_noise = true,
              .second_order = true},
     .discard_next_to_last = true,
     .buffers = 3,
     .loop = dpm_2},
    {.info = {.name = "DPM2 a",
              .alias = "k_dpm_2_a",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .ancestral = true,
              .second_order = true},
     .other_alias = "k_dpm_2_ancestral",
     .discard_next_to_last = true,
     .buffers = 3,
     .loop = dpm_2},
    {.info = {.name = "DPM fast",
              .alias = "k_dpm_fast",
              .default_scheduler = "uniform",
              .eta_name = "Eta",
              .default_eta = 1,
              .scales_noise = true,
              .ancestral = true},
     .ends_only = true,
     .buffers = 5,
     .loop = dpm_solver_fast},
    {.info = {.name = "DPM adaptive",
              .alias = "k_dpm_ad",
              .default_scheduler = "uniform",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true},
     .other_alias = "k_dpm_adaptive",
     .ends_only = true,
     .buffers = 7,
     .loop = dpm_solver_adaptive},
    {.info = {.name = "Restart",
              .alias = "restart",
              .default_scheduler = "karras",
              .second_order = true},
     .restarts = true,
     .buffers = 3,
     .loop = euler_heun},
    {.info = {.name = "DDIM",
              .alias = "ddim",
              .default_scheduler = "uniform",
              .eta_name = "Eta DDIM",
              .default_eta = 0},
     .timesteps = true,
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "DDIM CFG++",
              .alias = "ddim_cfgpp",
              .default_scheduler = "uniform",
              .eta_name = "Eta DDIM",
              .default_eta = 0},
     .timesteps = true,
     .uncond = true,
     .guidance_share = 1 / 12.5, /* so that 0..12.5 is the paper's 0..1 */
     .buffers = 2,
     .loop = euler_cfg_pp},
    {.info = {.name = "PLMS", .alias = "plms", .default_scheduler = "uniform"},
     .timesteps = true,
     .buffers = 7,
     .loop = adams_plms},
    {.info = {.name = "UniPC", .alias = "unipc", .default_scheduler = "uniform"},
     .timesteps = true,
     .even_times = true,
     .buffers = 5,
     .loop = unipc_loop},
    {.info = {.name = "LCM", .alias = "k_lcm", .default_scheduler = "simple"},
     .distilled = true,
     .buffers = 2,
     .loop = euler_lcm},
    /* Not the SD WebUI's; other front ends have them. */
    {.info = {.name = "Euler CFG++", .alias = "euler_cfg_pp", .default_scheduler = "uniform"},
     .uncond = true,
     .buffers = 2,
     .loop = euler_cfg_pp},
    {.info = {.name = "Euler a CFG++",
              .alias = "euler_ancestral_cfg_pp",
              .default_scheduler = "uniform",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true},
     .uncond = true,
     .buffers = 2,
     .loop = euler_cfg_pp},
    /* Ho et al. 2020, equation 7: divided by the root of the signal's power it is Euler a. */
    {.info = {.name = "DDPM",
              .alias = "ddpm",
              .default_scheduler = "uniform",
              .default_eta = 1,
              .ancestral = true},
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "DEIS", .alias = "deis", .default_scheduler = "uniform"},
     .buffers = 5,
     .loop = adams_deis},
    {.info = {.name = "IPNDM", .alias = "ipndm", .default_scheduler = "uniform"},
     .buffers = 5,
     .loop = adams_ipndm},
};
#define SAMPLERS (sizeof samplers / sizeof *samplers)

const struct pictor_sampler_info *pictor_sampler_at(int index)
{
    return index >= 0 && (size_t)index < SAMPLERS ? &samplers[index].info : NULL;
}

/* Names. */

/* `alias` with or without its "k_", in any case. */
static bool alias_is(const char *alias, const char *name)
{
    if (!alias)
        return false;
    return strcasecmp(alias, name) == 0 ||
           (strncmp(alias, "k_", 2) == 0 && strcasecmp(alias + 2, name) == 0);
}

static const struct sampler *find_plain(const char *name)
{
    for (size_t i = 0; i < SAMPLERS; i++)
        if (strcasecmp(samplers[i].info.name, name) == 0)
            return &samplers[i];
    for (size_t i = 0; i < SAMPLERS; i++)
        if (alias_is(samplers[i].info.alias, name) || alias_is(samplers[i].other_alias, name))
            return &samplers[i];
    return NULL;
}

const struct sampler *sampler_find(const char *name, const struct pictor_scheduler_info **scheduler)
{
    if (scheduler)
        *scheduler = NULL;
    const struct sampler *found = name ? find_plain(name) : NULL;
    if (found || !name)
        return found;

    /* "DPM++ 2M SGM Uniform": every space may be where the sampler ends. */
    char head[64];
    for (const char *space = strchr(name, ' '); space; space = strchr(space + 1, ' ')) {
        size_t length = (size_t)(space - name);
        if (length >= sizeof head)
            return NULL;
        memcpy(head, name, length);
        head[length] = '\0';
        const struct pictor_scheduler_info *suffix = pictor_scheduler_find(space + 1);
        found = suffix ? find_plain(head) : NULL;
        if (!found)
            continue;
        if (strcmp(suffix->name, found->info.default_scheduler) == 0)
            suffix = pictor_scheduler_at(SCHEDULE_AUTOMATIC);
        if (scheduler)
            *scheduler = suffix;
        return found;
    }
    return NULL;
}

const struct pictor_sampler_info *
pictor_sampler_find(const char *name, const struct pictor_scheduler_info **scheduler)
{
    const struct sampler *found = sampler_find(name, scheduler);
    return found ? &found->info : NULL;
}

bool pictor_sampler_flows(const char *name)
{
    const struct sampler *found = sampler_find(name, NULL);
    return found && found->flow;
}

const char *pictor_sampler_flow_names(char *buf, size_t size)
{
    size_t used = 0;
    *buf = '\0';
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++)
        if (samplers[i].flow && used < size)
            used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "",
                                     samplers[i].info.name);
    return buf;
}

/* Runs. */

void sampler_start(const struct sampler_plan *plan, float *x, const float *init, const float *noise,
                   size_t n)
{
    if (init)
        sampler_mix(x, n, plan->init, init, plan->noise, noise);
    else
        sampler_mix(x, n, plan->noise, noise, 0, noise);
}

void sampler_add_drawn(const struct sampler_state *s, float *x, double scale, const float *noise)
{
    size_t channels = (size_t)s->run->channels, pixels = s->run->pixels;
    float f = (float)scale;
    for (size_t k = 0; k < channels; k++)
        for (size_t p = 0; p < pixels; p++)
            x[p * channels + k] += f * noise[k * pixels + p];
}

void sampler_add_noise(const struct sampler_state *s, float *x, double scale, float *buffer)
{
    if (!(scale > 0))
        return;
    noise_draw(s->run->noise, buffer, s->n);
    sampler_add_drawn(s, x, scale * s->noise_scale, buffer);
}

/* Karras et al. 2022, algorithm 2, lines 4 to 6; a draw in every step, as k-diffusion has it. */
double sampler_churn(const struct sampler_state *s, int i, float *buffer)
{
    const struct sampler_run *run = s->run;
    double sigma = s->sigmas[i], most = sqrt(2) - 1;
    if (!(s->churn > 0))
        return sigma;
    bool within = sigma >= run->churn_low && (run->churn_high == 0 || sigma <= run->churn_high);
    double lifted = within ? sigma * (1 + fmin(s->churn / s->steps, most)) : sigma;
    noise_draw(run->noise, buffer, s->n);
    sampler_add_drawn(s, s->x, s->noise_scale * sqrt(lifted * lifted - sigma * sigma), buffer);
    return lifted;
}

bool sampler_step_done(struct sampler_state *s, int i, struct err *err)
{
    if (!s->run->on_step)
        return true;
    switch (s->run->on_step(s->run->ctx, i + 1, s->x0)) {
    case SAMPLER_CONTINUE:
        return true;
    case SAMPLER_FINISH:
        if (i + 1 < s->steps) {
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
            s->finished = true;
        }
        return true;
    case SAMPLER_CANCEL:
        break;
    }
    return err_set(err, ERR_CANCELLED, "cancelled after step %d of %d", i + 1, s->steps);
}

bool sampler_run(const struct sampler_run *run, float *x, float *scratch, struct err *err)
{
    const struct sampler *sampler = run->sampler;
    double eta = isnan(run->eta) ? sampler->info.default_eta : run->eta;
    struct sampler_state s = {
        .run = run,
        .sigmas = run->plan->sigmas,
        .steps = run->plan->steps,
        .eta = sampler->info.eta_name ? eta : sampler->info.default_eta,
        .churn = sampler->info.churns ? run->churn : 0,
        .noise_scale = sampler->info.scales_noise && run->noise_scale > 0 ? run->noise_scale : 1,
        .brownian = {run->noise->kind, run->noise->seed - (uint64_t)run->seed_delta, run->plan->low,
                     run->plan->high},
        .n = run->pixels * (size_t)run->channels,
        .x = x,
        .x0 = scratch,
    };
    s.buffers = scratch + s.n;
    if (s.steps && !sampler->loop(&s, err))
        return false;
    if (!s.finished && run->plan->finish != 1)
        sampler_mix(x, s.n, run->plan->finish, x, 0, x);
    return true;
}
