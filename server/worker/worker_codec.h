/* worker_codec.h: the process that reads and writes pictures, and nothing else. Started by
 * server/worker/codec.c as the painting worker is (server/worker/worker.h), in the same sandbox.
 *
 * From the server:
 *
 *     start      first of all: memory_limit, unconfined (1: goes on without seccomp), threads,
 *                upscale_bytes
 *     probe      binary: a picture's file
 *     decode     max_pixels; binary: a picture's file
 *     texts      binary: a picture's file
 *     encode     format, quality, width, height, channels, texts [{key, value}]; binary: pixels
 *     upscale    width, height, channels, to_width, to_height; of a network in a file: upscaler
 * {name, size, mtime_ms}, with its descriptor; binary: pixels on, stop   the answer to each
 * progress: whether to go on
 *
 * To the server, one answer to each:
 *
 *     ready      to start
 *     done       probe: format, width, height. decode: width, height, channels; binary: pixels.
 *                texts: binary: key, 0, value, 0 ... encode: binary: a picture's file. upscale:
 *                binary: RGB
 *     progress   now and then while a picture is enlarged
 *     error      code, message */
#ifndef PICTOR_SERVER_WORKER_CODEC_H
#define PICTOR_SERVER_WORKER_CODEC_H

#define WORKER_CODEC_WORD "--codec"

/* Never comes back while the server is there. Returns the exit status. */
int worker_codec_main(void);

/* Writes and reads a small picture in every format, on the thread that will do so: what the
 * libraries ask the system once, they ask before it is forbidden. */
void worker_codec_warm_up(void);

#endif
