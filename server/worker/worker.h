/* worker.h: the process that paints. Started by server/worker/process.c with one end of a socket
 * pair as descriptor 3; speaks server/worker/wire.h over it; ends when the other end does.
 *
 * From the server ("serial" counts requests and names them):
 *
 *     start      first of all: threads, precision, cpu, memory_limit, idle_unload_seconds,
 *                max_input_pixels, log_level, unconfined (1: goes on without seccomp)
 *     load       model {name, size, mtime_ms, files [names], and of a VAE among them that
 *                is not the model's own: vae, vae_size, vae_mtime_ms}, with the files' descriptors:
 *                open it, nothing else
 *     generate   serial, model, loras and upscaler {name, size, mtime_ms}, whose descriptors come
 *                behind the model's, refiner and hires_model (as model, with descriptors in this
 *                order behind those), params (server/job/job.h), index, init_size, mask_size;
 *                tiny {name, size, mtime_ms} for previews, whose descriptor comes then;
 *                controls [{size, mtime_ms}], whose descriptors come last, leading [sizes of
 *                server/job/controls.h's inputs], shown [sizes of further pictures, for a model
 *                that is shown such]; binary: the files of init, mask, leading and shown, one after
 *                the other
 *     cancel     serial: that request and all before it
 *     interrupt  serial: that request and all before it end with what is painted
 *     unload     close all models
 *     ask        are you alive? Answered also while a picture is painted
 *
 * To the server:
 *
 *     ready      description: the engine is there
 *     opened     model, title, architecture, width, height, guidance, steps, bytes
 *     closed     model
 *     progress   serial, step, steps, step_seconds; with a preview: width, height; binary: RGB
 *     image      serial, width, height; binary: RGB
 *     alive      beats: grows with what the engine does
 *     error      serial (0: of a load), code, message
 *
 * Every generate is answered by exactly one image or error, in order. */
#ifndef PICTOR_SERVER_WORKER_H
#define PICTOR_SERVER_WORKER_H

#define WORKER_FD 3

/* `pictor worker` as a server starts it. Returns the exit status; WORKER_NOT_STARTED: it was not
 * started so. */
#define WORKER_NOT_STARTED (-1)
int worker_main(int argc, char **argv);

#endif
