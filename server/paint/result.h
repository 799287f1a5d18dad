/* result.h: what every runner does with a job: reads what it starts from, and makes a painted
 * picture a stored one: its infotext, its file format, its row. */
#ifndef PICTOR_SERVER_RESULT_H
#define PICTOR_SERVER_RESULT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct dispatch_parts;
struct claim;
struct job;
struct job_progress;
struct pictor_image;
struct registry_model;

/* Whether the stored request has all that a picture of it needs: a database may be damaged. */
bool result_check(const struct job *job, struct err *err);

/* As queue_input; fills nothing when the job has no input of that name. */
bool result_input(const struct dispatch_parts *parts, const struct job *job, const char *name,
                  void **data, size_t *size, struct err *err);

/* Encodes picture `index` of the job as its params say and stores it under the claim. Any thread.
 * `painter` is the model as it was opened; NULL: nobody knows. `revised` is what an upstream says
 * that it painted; NULL: it does not. */
bool result_store(const struct dispatch_parts *parts, const struct claim *claim,
                  const struct job *job, const struct registry_model *painter, const char *revised,
                  int index, const struct pictor_image *pixels, struct err *err);

/* Stores the encoded file as picture `index`, as it is: of `width` x `height`, in a format that
 * jobs have. Any thread. */
bool result_keep(const struct dispatch_parts *parts, const struct claim *claim,
                 const struct job *job, const char *revised, int index, int width, int height,
                 const void *data, size_t size, struct err *err);

/* Publishes how far the picture job_progress.image of the job is. `latent` (RGB at latent size, may
 * be NULL) becomes the preview, enlarged. */
void result_progress(const struct dispatch_parts *parts, const struct job *job,
                     const struct job_progress *progress, const struct pictor_image *latent);

/* The same with a preview that came as the file `data`, of which `pixels` are the picture. */
void result_partial(const struct dispatch_parts *parts, const struct job *job,
                    const struct job_progress *progress, const struct pictor_image *pixels,
                    const void *data, size_t size);

/* The index of the first picture that the job does not have yet, from `from` on; -1: none. */
int result_missing(const struct job *job, int from);

/* Seconds that are left: those of picture `index` and, unless the job is interrupted, those of the
 * pictures that are still missing, each of which takes `whole` as this one does. -1: not known. */
double result_eta(const struct job *job, int index, bool interrupted, double left, double whole);

#endif
