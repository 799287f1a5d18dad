/* settings.h: everything an operator can set, in one table.
 *
 * A line of SETTINGS is a setting: from it come the member of struct settings, the key of
 * config/pictor.ini, the environment variable PICTOR_NAME, the flag --name (with dashes for
 * underscores), its check and its line in --help. Precedence: flag, environment, file, default.
 * What is unknown or out of range is an error that names the place; nothing is ignored, except
 * PICTOR_* variables of other names, which container platforms invent by themselves.
 *
 * Types: STRING char * (never NULL), INT int, SIZE size_t (text may end in K, M or G, of 1024),
 * REAL double, BOOL bool, LIST struct setting_list (commas), WORD char * out of the words in the
 * last column. Immutable after settings_load, so any thread may read it. */
#ifndef PICTOR_SERVER_SETTINGS_H
#define PICTOR_SERVER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>

#include "engine/base/err.h"

#if defined(__x86_64__)
#define SETTINGS_CPU "auto|scalar|avx2|avx512|avx512bf16|amx"
#elif defined(__aarch64__)
#define SETTINGS_CPU "auto|scalar|neon"
#else
#define SETTINGS_CPU "auto|scalar"
#endif

/* X(type, section, name, default, least, most, words, help) */
#define SETTINGS(X)                                                                                \
    X(STRING, server, listen, "127.0.0.1:7860", 0, 0, "HOST:PORT",                                 \
      "address to serve on; [::1]:7860 for IPv6")                                                  \
    X(STRING, server, data, "data", 0, 0, "DIR", "folder of the database and the pictures")        \
    X(STRING, server, database, "sqlite", 0, 0, "sqlite|URL",                                      \
      "where rows are: DATA/pictor.db, or postgresql://USER:PASSWORD@HOST/NAME for many servers")  \
    X(STRING, server, server_name, "", 0, 0, "NAME",                                               \
      "of this server, among those of one database; empty: HOSTNAME and the port")                 \
    X(STRING, server, models, "", 0, 0, "DIR", "folder of checkpoints; empty: DATA/models")        \
    X(STRING, server, loras, "", 0, 0, "DIR", "folder of LoRAs; empty: DATA/loras")                \
    X(STRING, server, vaes, "", 0, 0, "DIR", "folder of VAEs; empty: DATA/vaes")                   \
    X(STRING, server, upscalers, "", 0, 0, "DIR", "folder of upscalers; empty: DATA/upscalers")    \
    X(STRING, server, embeddings, "", 0, 0, "DIR",                                                 \
      "folder of textual inversions; empty: DATA/embeddings")                                      \
    X(STRING, server, controlnets, "", 0, 0, "DIR",                                                \
      "folder of ControlNets; empty: DATA/controlnets")                                            \
    X(STRING, server, text_encoders, "", 0, 0, "DIR",                                              \
      "folder of text encoders; empty: DATA/text_encoders")                                        \
    X(STRING, server, styles, "", 0, 0, "FILE",                                                    \
      "CSV of the WebUI's prompt styles; empty: DATA/styles.csv")                                  \
    X(BOOL, server, dynamic_prompts, "on", 0, 0, "", "{a|b} and __NAME__ in prompts choose")       \
    X(STRING, server, wildcards, "", 0, 0, "DIR",                                                  \
      "folder of what __NAME__ chooses from; empty: DATA/wildcards")                               \
    X(LIST, server, model_paths, "", 0, 0, "DIRS",                                                 \
      "folders of A1111, ComfyUI and the like, whose files are used where they lie")               \
    X(LIST, server, distilled_models, "", 0, 0, "NAMES",                                           \
      "FLUX.2 and Z-Image models that paint in few steps without guidance, whatever they are "     \
      "called")                                                                                    \
    X(LIST, server, base_models, "", 0, 0, "NAMES",                                                \
      "those that want many steps and guidance")                                                   \
    X(STRING, server, default_model, "", 0, 0, "NAME",                                             \
      "model of a request that names none; empty: the built-in one")                               \
    X(STRING, server, public_url, "", 0, 0, "URL",                                                 \
      "how clients reach this server, for links in answers; empty: from the request")              \
    X(INT, server, max_connections, "1024", 8, 65536, "", "connections open at the same time")     \
    X(INT, server, max_connections_per_address, "256", 1, 65536, "",                               \
      "connections of one address that have not shown a key yet")                                  \
    X(INT, server, reserved_connections, "128", 0, 65536, "",                                      \
      "connections kept for clients that have shown a key; at most half of all")                   \
    X(INT, server, header_timeout, "15", 1, 86400, "",                                             \
      "seconds in which a new connection must have sent the head of a request")                    \
    X(SIZE, server, min_body_rate, "16K", 1, 1073741824, "",                                       \
      "bytes a second at which a body that takes longer than request_timeout must come")           \
    X(INT, server, request_timeout, "60", 1, 86400, "",                                            \
      "seconds a client may take to send a request")                                               \
    X(WORD, server, log_level, "info", 0, 0, "debug|info|warn|error", "least level logged")        \
    X(BOOL, api, openai, "on", 0, 0, "", "serve the OpenAI API at /v1")                            \
    X(BOOL, api, openai_names, "on", 0, 0, "",                                                     \
      "dall-e-3, gpt-image-1 and the like mean the default model when nothing else has the name")  \
    X(BOOL, api, sdapi, "on", 0, 0, "", "serve the SD WebUI API at /sdapi/v1")                     \
    X(BOOL, api, mcp, "on", 0, 0, "", "serve the Model Context Protocol at /mcp, for agents")      \
    X(BOOL, api, api_server_stop, "off", 0, 0, "",                                                 \
      "let administrators end the server over the SD WebUI API")                                   \
    X(BOOL, api, early_headers, "off", 0, 0, "",                                                   \
      "answer long OpenAI requests with headers at once and spaces until the picture is done")     \
    X(WORD, access, picture_urls, "off", 0, 0, "off|internet|any",                                 \
      "fetch pictures that requests give as addresses; any: from this network, too")               \
    X(BOOL, access, allow_unauthenticated, "off", 0, 0, "",                                        \
      "listen beyond this machine even though no key exists")                                      \
    X(BOOL, access, allow_unconfined, "off", 0, 0, "",                                             \
      "listen beyond this machine even though the kernel cannot lock the workers in (seccomp)")    \
    X(LIST, access, allowed_hosts, "", 0, 0, "NAMES",                                              \
      "further Host names to answer to, or *; against DNS rebinding")                              \
    X(LIST, access, cors_origins, "", 0, 0, "ORIGINS",                                             \
      "web origins whose pages may call the APIs, or *; empty: none")                              \
    X(INT, access, max_failures_per_minute, "60", 1, 60000, "",                                    \
      "wrong passwords (HTTP Basic) in a minute, of one address")                                  \
    X(LIST, access, api_auth, "", 0, 0, "USER:PASS,...",                                           \
      "basic authentication of the SD WebUI API")                                                  \
    X(STRING, access, forward_auth_header, "", 0, 0, "NAME",                                       \
      "header in which a proxy says who asks (Remote-User); empty: no proxy does")                 \
    X(LIST, access, forward_auth_proxies, "127.0.0.1, ::1", 0, 0, "NETWORKS",                      \
      "addresses of that proxy")                                                                   \
    X(STRING, access, forward_auth_secret, "", 0, 0, "SECRET",                                     \
      "what the proxy sends as X-Pictor-Secret")                                                   \
    X(LIST, access, forward_auth_admins, "", 0, 0, "USERS",                                        \
      "users of the proxy with the right to administer")                                           \
    X(BOOL, pictures, mark_pictures, "on", 0, 0, "",                                               \
      "pictures say by machine that a model painted them (XMP, IPTC DigitalSourceType)")           \
    X(BOOL, pictures, write_infotext, "on", 0, 0, "",                                              \
      "pictures carry prompt and settings as the SD WebUI's infotext")                             \
    X(INT, workers, workers, "1", 0, 1, "",                                                        \
      "worker processes on this machine; 0: only workers on other machines paint")                 \
    X(STRING, workers, worker_files, "", 0, 0, "DIR",                                              \
      "files that a worker of another server keeps; empty: DATA/worker-files")                     \
    X(SIZE, workers, worker_files_limit, "100G", 1048576, 1125899906842624, "",                    \
      "bytes of them; the one unused for longest goes first")                                      \
    X(INT, workers, threads, "0", 0, 1024, "", "threads of the engine; 0: one for each CPU")       \
    X(WORD, workers, precision, "auto", 0, 0, "auto|bf16|f32|int8", "arithmetic of the engine")    \
    X(WORD, workers, cpu, "auto", 0, 0, SETTINGS_CPU, "highest instruction set to use")            \
    X(WORD, workers, previews, "fast", 0, 0, "fast|taesd",                                         \
      "how previews are made; taesd: by that decoder, where it is found")                          \
    X(INT, workers, memory_limit_mb, "0", 0, 16777216, "",                                         \
      "MiB of weights and activations; 0: no limit")                                               \
    X(INT, workers, idle_unload_seconds, "0", 0, 31536000, "",                                     \
      "unload a model unused for so long; 0: never")                                               \
    X(STRING, pull, hf_token, "", 0, 0, "TOKEN",                                                   \
      "of Hugging Face, for models that need a login; empty: HF_TOKEN of the environment")         \
    X(STRING, pull, civitai_token, "", 0, 0, "TOKEN",                                              \
      "of CivitAI; empty: CIVITAI_TOKEN of the environment")                                       \
    X(BOOL, pull, pull_private, "off", 0, 0, "",                                                   \
      "let POST /api/pulls fetch from this machine and its network")                               \
    X(STRING, compose, compose_url, "", 0, 0, "URL",                                               \
      "server of OpenAI's chat API that makes descriptions out of ideas; empty: pictor itself")    \
    X(STRING, compose, compose_model, "", 0, 0, "NAME", "its model")                               \
    X(STRING, compose, compose_key, "", 0, 0, "KEY", "its key; empty: none")                       \
    X(INT, compose, compose_timeout, "60", 1, 3600, "", "seconds until it must have answered")     \
    X(REAL, speed, guidance_low, "0", 0, 1000, "",                                                 \
      "noise level (sigma) below which there is no guidance")                                      \
    X(REAL, speed, guidance_high, "0", 0, 1000, "",                                                \
      "noise level (sigma) above which there is no guidance; 0: no such level")                    \
    X(INT, speed, reuse_every, "1", 1, 20, "", "run the deep levels in every Nth step alone")      \
    X(REAL, speed, token_merging, "0", 0, 0.9, "",                                                 \
      "share of the keys that self-attention at full resolution leaves out")                       \
    X(INT, queue, max_queue, "1000", 1, 1000000, "", "jobs waiting, of all keys")                  \
    X(INT, queue, max_queue_per_key, "100", 1, 1000000, "", "jobs waiting, of one key")            \
    X(SIZE, queue, max_input_bytes_per_key, "1G", 1024, 1099511627776, "",                         \
      "bytes of pictures that jobs of one key start from, until they are done")                    \
    X(BOOL, queue, webhook_private, "off", 0, 0, "",                                               \
      "let webhooks be on this machine and its network")                                           \
    X(INT, queue, max_open_requests_per_key, "256", 1, 65536, "",                                  \
      "requests open at the same time, of one key")                                                \
    X(INT, queue, max_requests_per_minute, "0", 0, 60000, "",                                      \
      "requests for pictures in a minute, of one key; 0: no limit")                                \
    X(INT, queue, max_attempts, "3", 1, 100, "",                                                   \
      "times a job is started before it fails, when workers die under it")                         \
    X(INT, queue, lease_seconds, "30", 1, 3600, "",                                                \
      "a worker silent for so long has lost its job")                                              \
    X(INT, queue, keep_days, "0", 0, 36500, "",                                                    \
      "days until finished jobs and their pictures are removed; 0: kept for ever")                 \
    X(INT, queue, undo_seconds, "600", 0, 2592000, "",                                             \
      "seconds in which what was deleted can be restored; 0: it is gone at once")                  \
    X(STRING, bucket, blobs, "folder", 0, 0, "folder|s3://...",                                    \
      "where pictures are kept: in DATA or in a bucket, s3://BUCKET?endpoint=URL&region=NAME")     \
    X(STRING, bucket, bucket_key, "", 0, 0, "ID",                                                  \
      "of the bucket; empty: AWS_ACCESS_KEY_ID of the environment")                                \
    X(STRING, bucket, bucket_secret, "", 0, 0, "SECRET",                                           \
      "of the bucket; empty: AWS_SECRET_ACCESS_KEY of the environment")                            \
    X(WORD, bucket, bucket_gets, "pass", 0, 0, "pass|redirect",                                    \
      "pictures come through this server, or by a signed link to the bucket")                      \
    X(INT, bucket, bucket_timeout, "30", 1, 600, "",                                               \
      "seconds of a call of the bucket with all its tries")                                        \
    X(SIZE, bucket, bucket_near, "1G", 16777216, 1099511627776, "",                                \
      "bytes of pictures from the bucket that are also kept in DATA/near")                         \
    X(SIZE, limits, max_body_bytes, "64M", 1024, 2147483647, "", "bytes of a request's body")      \
    X(SIZE, limits, max_answers_bytes, "256M", 65536, 1099511627776, "",                           \
      "bytes of answers in memory that their clients have not read yet, of all clients")           \
    X(INT, limits, max_pixels, "4194304", 4096, 268435456, "", "width x height of a picture")      \
    X(INT, limits, max_side, "4096", 64, 16384, "", "width or height of a picture")                \
    X(INT, limits, max_steps, "150", 1, 1000, "", "denoising steps of a picture")                  \
    X(INT, limits, max_count, "16", 1, 1000, "", "pictures of a job")                              \
    X(INT, limits, max_json_depth, "32", 4, 1000, "", "nesting of a JSON body")                    \
    X(SIZE, limits, max_prompt_bytes, "128K", 1, 16777216, "", "bytes of a prompt")                \
    X(SIZE, limits, max_files_bytes_per_key, "1G", 1024, 1099511627776, "",                        \
      "bytes of files that one key keeps here (/v1/files)")                                        \
    X(INT, limits, files_days, "30", 1, 3650, "", "days until such a file is removed")

struct setting_list {
    char **items;
    size_t count;
};

/* A server that pictor forwards jobs to: [upstream NAME] in the file. */
struct settings_upstream {
    char *name;
    char *kind;     /* "openai", "sdapi" or "comfyui" */
    char *workflow; /* of "comfyui": the file of what it runs; else NULL */
    char *placeholders; /* what that names of a job: " prompt seed cfg "; NULL: not known */
    char *base_url; /* "https://api.openai.com/v1", "http://gpu:7860"; no slash at the end */
    char *key;      /* from key, key_env or key_file; "" for none. Never logged */
    struct settings_upstream_model {
        char *local, *remote; /* `models = local=remote, same` */
    } *models;
    size_t model_count;
    struct setting_list listed; /* patterns of names in the server's own list; "*": all */
    int list_seconds;           /* until that list is asked for again */
    double price;               /* of a picture, in whatever money the limits are */
    struct settings_upstream_price {
        char *model; /* as it is called here */
        double price;
    } *prices; /* of models that cost something else */
    size_t price_count;
    /* What may be ordered in a day, in a month (UTC); 0: no limit. */
    int max_pictures_per_day, max_pictures_per_month;
    double max_money_per_day, max_money_per_month;
    int timeout_seconds, max_retries;
    int concurrency;    /* jobs there at the same time */
    bool retry_unknown; /* order again what may have been painted and lost */
    bool extensions;    /* it also takes seed, steps, negative_prompt, guidance_scale... */
};

/* `gpt-image-1 = pictor-mini` in [alias]: another name of a model. */
struct settings_alias {
    char *name, *model;
};

/* A section [parts MODEL]: what a UNet alone is painted with; NULL: not said. */
struct settings_parts {
    char *model, *text_encoder, *text_encoder_2, *text_encoder_3, *vae;
};

#define SETTINGS_C_STRING char *
#define SETTINGS_C_WORD char *
#define SETTINGS_C_INT int
#define SETTINGS_C_SIZE size_t
#define SETTINGS_C_REAL double
#define SETTINGS_C_BOOL bool
#define SETTINGS_C_LIST struct setting_list
#define SETTINGS_MEMBER(type, section, name, fallback, least, most, words, help)                   \
    SETTINGS_C_##type name;

struct settings {
    SETTINGS(SETTINGS_MEMBER)
    char *config; /* the file that was read, "" for none */
    struct settings_upstream *upstreams;
    size_t upstream_count;
    struct settings_alias *aliases;
    size_t alias_count;
    struct settings_parts *parts;
    size_t parts_count;
};

/* The defaults. Returns owned; for tests, and for settings_load. */
struct settings *settings_new(struct err *err);
void settings_free(struct settings *s);

/* Sets one from text, as a flag would. `where` stands in front of the error: "--max-steps". */
bool settings_set(struct settings *s, const char *name, const char *text, const char *where,
                  struct err *err);

/* Defaults, then the file (--config FILE or PICTOR_CONFIG, else /etc/pictor/pictor.ini if there is
 * one), the environment and the flags. Takes its flags out of argv[1..*argc) and leaves the words
 * that do not begin with '-', `--help` and `-h`, what follows `--` (which is dropped), and the
 * flags in `own` (NULL-terminated; "-o=" is one that takes a value; may be NULL). Any other flag is
 * an error. `--name VALUE` and `--name=VALUE` mean one thing; a BOOL is `--name` or `--name=off`.
 */
struct settings *settings_load(int *argc, char **argv, const char *const *own, struct err *err);

/* The settings' part of --help. `names` (NULL-terminated) picks some; NULL: all. */
void settings_help(FILE *out, const char *const *names);

/* The table, for tests and for lists: index from 0, NULL past the end. */
struct setting_info {
    const char *section, *name, *type, *fallback, *words, *help;
    double least, most;
};
const struct setting_info *settings_at(size_t index);

/* `listen` as an address to bind; ERR_INVALID names what is wrong with it. */
bool settings_listen_address(const struct settings *s, struct sockaddr_storage *address,
                             socklen_t *size, struct err *err);
/* Whether only this machine can reach that address. */
bool settings_is_loopback(const struct sockaddr_storage *address);

#endif
