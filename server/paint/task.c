#include "server/paint/task.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/job/intake.h"
#include "server/job/variants.h"
#include "server/paint/child.h"
#include "server/paint/result.h"

/* The LoRAs' folder is the operator's: no probe of the data folder finds out when it can be read
 * again, and jobs without LoRAs need not wait for it. So the job fails. */
static bool open_loras(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct files *files = registry_files(parts->registry, FOLDERS_LORA);
    bool done = loras_open(files, t->job.params.prompt, &t->loras, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    return done;
}

/* The picture's text says which they are. */
static bool open_embeddings(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct job_params *p = &t->job.params;
    free(p->embeddings);
    p->embeddings = NULL;
    if (t->model.kind != REGISTRY_LOCAL)
        return true;
    bool done = embeddings_open(registry_files(parts->registry, FOLDERS_EMBEDDING),
                                t->model.text_widths, p, &t->embeddings, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    return done;
}

/* As for LoRAs. The picture's text names a VAE only where a file is used. */
static bool add_vae(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct vaes_choice choice;
    char **vae = &t->job.params.vae;
    if (t->model.kind != REGISTRY_LOCAL)
        return true;
    bool done = vaes_choose(registry_files(parts->registry, FOLDERS_VAE), t->model.name, *vae,
                            &choice, err);
    if (done && t->files.count == 0 && (!*vae || strcasecmp(*vae, "automatic") == 0))
        choice = (struct vaes_choice){.name = ""};
    done = done && vaes_add(&choice, &t->files, &t->vae, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    free(*vae);
    *vae = done && *choice.name ? strdup(choice.name) : NULL;
    return done;
}

/* The refiner and the model of the second pass. Before add_vae, which makes a file's name of what
 * the job says of its VAE. */
static bool open_others(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    if (t->model.kind != REGISTRY_LOCAL)
        return true;
    bool done = companions_open(parts->registry, &t->job.params, &t->model, t->job.params.vae,
                                t->others, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    return done;
}

const struct registry_model *task_model(const struct task *t, const char *name)
{
    for (size_t i = 0; i < COMPANIONS; i++)
        if (*name && strcmp(t->others[i].model.name, name) == 0)
            return &t->others[i].model;
    return &t->model;
}

/* The same goes for the upscalers'. */
static bool open_upscaler(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    bool done = upscalers_open_job(registry_files(parts->registry, FOLDERS_UPSCALER),
                                   &t->job.params, &t->upscaler, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    return done || err_prefix(err, "hires_upscaler");
}

/* The job's ControlNets, and their pictures. */
static bool open_controls(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct controls c;
    if (t->model.kind != REGISTRY_LOCAL || !t->job.params.controls)
        return true;
    bool done =
        controls_read(t->job.params.controls, &c, err) &&
        controls_open(&c, registry_files(parts->registry, FOLDERS_CONTROLNET), &t->controls, err);
    if (!done && err_is_passing(err->code))
        err->code = ERR_IO;
    for (size_t i = 0; done && i < CONTROLS_INPUTS; i++)
        done = result_input(parts, &t->job, controls_input(i), &t->leading[i], &t->leading_size[i],
                            err);
    return done;
}

/* Pictures beside the one that is begun from, for a model that is shown such. */
static bool open_shown(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    bool done = true;
    if (t->model.kind != REGISTRY_LOCAL || t->model.references == 0)
        return true;
    for (int i = 0; done && i < RELAY_IMAGES_MAX && i < t->job.params.more_images; i++)
        done = result_input(parts, &t->job, relay_input((size_t)i), &t->shown[i],
                            &t->shown_size[i], err);
    return done;
}

/* Never a reason to fail. The built-in model's latents are its own. */
static bool open_tiny(struct task *t, const struct dispatch_parts *parts)
{
    if (t->model.kind == REGISTRY_LOCAL && t->files.count > 0 && t->job.params.preview_every > 0)
        tiny_open(parts->settings, t->model.architecture, &t->tiny);
    return true;
}

bool task_open(struct task *t, const struct dispatch_parts *parts, struct err *err)
{
    struct intake_model usual;
    struct job_params *p = &t->job.params;
    if (!registry_resolve(parts->registry, p->model, &t->model, err))
        return false;
    intake_model_of(&t->model, &usual);
    /* An upstream's model when the job was accepted may be a local one now. */
    return intake_fill(&usual, parts->settings, p, err) &&
           registry_open(parts->registry, &t->model, &t->files, err) &&
           open_others(t, parts, err) && add_vae(t, parts, err) && open_loras(t, parts, err) &&
           open_embeddings(t, parts, err) && open_upscaler(t, parts, err) &&
           open_controls(t, parts, err) && open_shown(t, parts, err) && open_tiny(t, parts) &&
           result_input(parts, &t->job, "init", &t->init, &t->init_size, err) &&
           result_input(parts, &t->job, "mask", &t->mask, &t->mask_size, err);
}

bool task_choose(struct task *t, const struct dispatch_parts *parts, int index, struct err *err)
{
    if (!t->job.params.variants || t->chosen == index + 1)
        return true;
    loras_close(&t->loras);
    embeddings_close(&t->embeddings);
    if (!variants_use(&t->job.params, index, err) || !open_loras(t, parts, err) ||
        !open_embeddings(t, parts, err))
        return false;
    t->chosen = index + 1;
    return true;
}

void task_request(const struct task *t, int64_t serial, int index, struct child_request *out)
{
    *out = (struct child_request){
        .serial = serial,
        .index = index,
        .params = &t->job.params,
        .model = &t->model,
        .files = &t->files,
        .vae = &t->vae,
        .others = t->others,
        .loras = &t->loras,
        .embeddings = &t->embeddings,
        .upscaler = &t->upscaler,
        .controls = &t->controls,
        .tiny = &t->tiny,
        .leading = t->leading,
        .leading_size = t->leading_size,
        .shown = t->shown,
        .shown_size = t->shown_size,
        .init = t->init,
        .init_size = t->init_size,
        .mask = t->mask,
        .mask_size = t->mask_size,
    };
}

void task_free(struct task *t)
{
    job_free(&t->job);
    pictor_files_close(&t->files);
    companions_close(t->others);
    loras_close(&t->loras);
    embeddings_close(&t->embeddings);
    upscalers_close(&t->upscaler);
    controls_close(&t->controls);
    tiny_close(&t->tiny);
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        free(t->leading[i]);
    for (size_t i = 0; i < RELAY_IMAGES_MAX; i++)
        free(t->shown[i]);
    free(t->init);
    free(t->mask);
    free(t);
}
