/* pictor.h: words in, picture out. The only face of libpictor.
 *
 *     struct err err;
 *     struct pictor_engine *engine = pictor_engine_new(NULL, &err);
 *     struct pictor_model *model = pictor_model_open(engine, "builtin", &err);
 *     struct pictor_params p;
 *     pictor_params_init(&p, model);
 *     p.prompt = "a red circle on a blue background";
 *     p.seed = 7;
 *     struct pictor_image image;
 *     if (!pictor_generate(model, &p, &image, &err))
 *         puts(err.msg);
 *     pictor_image_free(&image);
 *     pictor_model_free(model);
 *     pictor_engine_free(engine);
 *
 * An engine owns a device (this machine's CPU) and its threads and runs one picture at a time;
 * engines and models are not thread-safe, except that pictor_engine_cancel may be called from any
 * thread. Pointers in params are borrowed for the call; the models among them are of one engine. */
#ifndef PICTOR_ENGINE_PICTOR_H
#define PICTOR_ENGINE_PICTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define PICTOR_VERSION "0.1.0"

struct pictor_engine;
struct pictor_model;

enum pictor_precision {
    PICTOR_PRECISION_AUTO, /* bf16 where the CPU multiplies it faster than f32 */
    PICTOR_PRECISION_BF16, /* weights and activations bf16, sums f32 */
    PICTOR_PRECISION_F32,
    PICTOR_PRECISION_INT8 /* as AUTO, but most of the UNet's products int8; needs AMX-INT8 */
};

/* "bf16", "f32", "int8"; any other word is AUTO. */
enum pictor_precision pictor_precision_of(const char *word);

enum pictor_rng {
    PICTOR_RNG_NV, /* Philox as CUDA has it: what "GPU" seeds mean in SD WebUI */
    PICTOR_RNG_CPU /* Mersenne twister as torch on the CPU has it */
};

/* How much of a prompt is syntax: all that SD WebUI has; attention, (x:1.2) [x] BREAK, alone; or
 * nothing. */
enum pictor_syntax { PICTOR_SYNTAX_WEBUI, PICTOR_SYNTAX_WEIGHTS, PICTOR_SYNTAX_PLAIN };

/* What weights of attention do (SD WebUI's option `emphasis`): scale the words, the whole chunk
 * then scaled back to its mean; that without scaling back; nothing; or their brackets are text. */
enum pictor_emphasis {
    PICTOR_EMPHASIS_ORIGINAL,
    PICTOR_EMPHASIS_NO_NORM,
    PICTOR_EMPHASIS_IGNORE,
    PICTOR_EMPHASIS_NONE
};

/* In which pass of a picture that has two the refiner takes over (SD WebUI's
 * hires_fix_refiner_pass).
 */
enum pictor_refine { PICTOR_REFINE_SECOND, PICTOR_REFINE_FIRST, PICTOR_REFINE_BOTH };

/* How an initial picture of another size is fitted to width x height (SD WebUI's resize_mode).
 * Latent: stretched, after it was encoded at its own size; with a mask, before. */
enum pictor_fit { PICTOR_FIT_STRETCH, PICTOR_FIT_CROP, PICTOR_FIT_PAD, PICTOR_FIT_LATENT };

/* What stands under the mask before sampling (SD WebUI's inpainting_fill). */
enum pictor_fill { PICTOR_FILL_BLUR, PICTOR_FILL_ORIGINAL, PICTOR_FILL_NOISE, PICTOR_FILL_NOTHING };

/* 8-bit picture, rows top to bottom: pixels[(y * width + x) * channels + k].
 * channels: 1 grey, 3 RGB, 4 RGBA (straight alpha). */
struct pictor_image {
    int width, height, channels;
    uint8_t *pixels; /* malloc'd; owned by whoever owns the struct */
};

void pictor_image_free(struct pictor_image *image); /* frees pixels, zeroes the struct */

struct pictor_engine_options {
    int threads;     /* 0: one per available CPU */
    const char *cpu; /* a cap: "scalar" "avx2" "avx512" "avx512bf16" "amx" or "neon"; NULL: none */
    enum pictor_precision precision;
    size_t memory_limit; /* bytes of weights plus activations, 0: no limit */
};

/* `options` may be NULL. Fails on an unknown cpu word, and where the CPU has no int8 that was asked
 * for. Returns owned. */
struct pictor_engine *pictor_engine_new(const struct pictor_engine_options *options,
                                        struct err *err);
void pictor_engine_free(struct pictor_engine *engine);

/* "cpu amx 2 threads bf16": for logs and `pictor bench`. Valid until the engine is freed. */
const char *pictor_engine_description(const struct pictor_engine *engine);

/* Asks the picture being painted to stop; pictor_generate then fails with ERR_CANCELLED within one
 * operation of a network. Any thread, and async-signal-safe. Cleared when the next picture starts.
 */
void pictor_engine_cancel(struct pictor_engine *engine);

/* Asks it to stop sampling and decode what is there: pictor_generate succeeds with an unfinished
 * picture. Same rules. */
void pictor_engine_interrupt(struct pictor_engine *engine);

/* A number that grows while the engine gets on with something, with every operation of a network
 * that it loads or runs. Any thread. */
uint64_t pictor_engine_beats(const struct pictor_engine *engine);

/* What guidance is to a model: a second answer of the network, to the negative prompt; a number
 * that the network is told, and no negative prompt says anything; or nothing at all. */
enum pictor_guide { PICTOR_GUIDE_WORDS, PICTOR_GUIDE_TOLD, PICTOR_GUIDE_NONE };

struct pictor_model_info {
    char architecture[32]; /* "sd1" */
    char title[64];        /* from the file's metadata, or "" */
    int native_width, native_height;
    size_t weight_bytes; /* packed, in memory */
    float default_guidance;
    int default_steps;
    int clip_skips;               /* clip_skip may be 1..clip_skips; 0: not known */
    float default_image_guidance; /* 0: image_guidance says nothing to it; else it edits pictures,
                                     and paints none without one to begin from */
    int references;               /* how many references params may have; 0: none. Else it
                                     edits: what is begun from with strength 1 is shown to it,
                                     too, as the first */
    bool flow;                    /* samplers are those of flow models */
    enum pictor_guide guide;
    bool variable; /* nothing in its files tells whether it is distilled: pictor_model_vary */
    bool masked;                  /* it is shown the mask: mask_weight says something to it */
    int text_widths[2];           /* of its text encoders' tokens; 0: there is none */
    char default_sampler[32], default_scheduler[32]; /* "": what is everybody's */
};

/* Whether a flow model is one that was distilled to paint in few steps without guidance, or its
 * base: of some families no tensor tells. What a folder or a file's metadata says counts first,
 * then this, then the name. */
enum pictor_variant { PICTOR_VARIANT_UNSAID, PICTOR_VARIANT_DISTILLED, PICTOR_VARIANT_BASE };

/* What a model is made of, opened: also for a process that can open nothing itself and gets the
 * descriptors from another one. No file at all is the model inside the binary. */
#define PICTOR_FILES_MAX 24 /* networks in shards; SDXL in F32 has 7 files */
struct pictor_file {
    char name[272]; /* "v1-5.safetensors"; in a folder "unet/diffusion_pytorch_model.safetensors" */
    int fd;         /* to read from */
};
struct pictor_files {
    struct pictor_file items[PICTOR_FILES_MAX];
    size_t count;
    enum pictor_variant variant; /* the opener's to set */
};

/* `path`: "builtin" for the model inside the binary, a file of weights (engine/io/tensor_file.h) in
 * the single-file layout, or a folder in the diffusers layout: of each network the best file or set
 * of shards that is there. Opens without reading. ERR_BUSY when there are no
 * descriptors left. */
bool pictor_files_open(const char *path, struct pictor_files *out, struct err *err);
/* One more file of a model, opened without reading. `role` says what it holds: "model", all of it
 * in the single-file layout; "unet", "vae", "text_encoder", "text_encoder_2" or "text_encoder_3",
 * one network in either layout, which takes the place of the whole file's and of one added before
 * (a tiny autoencoder, as "vae", stands beside that); "scheduler", a folder's
 * scheduler_config.json; "config", the UNet's config.json; "pipeline", a folder's
 * model_index.json; or "tokenizer", T5's vocabulary (spiece.model, or a GGUF of T5's). Other
 * errors as above; the list stays as it was then. */
bool pictor_files_add(struct pictor_files *files, const char *role, const char *path,
                      struct err *err);
void pictor_files_close(struct pictor_files *files);

/* Everything in the files is checked. They may be closed afterwards. Returns owned; free before the
 * engine. */
struct pictor_model *pictor_model_open_files(struct pictor_engine *engine,
                                             const struct pictor_files *files, struct err *err);
/* pictor_files_open, pictor_model_open_files and pictor_files_close in one. */
struct pictor_model *pictor_model_open(struct pictor_engine *engine, const char *path,
                                       struct err *err);

/* A LoRA: a small file that changes a model's weights. */
#define PICTOR_LORAS_MAX 16
struct pictor_lora {
    const char *name;  /* for messages */
    int fd;            /* of the .safetensors file, to read from */
    double unet, text; /* how much of it, in the UNet and in text encoders; 0: nothing */
};

/* From now on the model is what was opened with these LoRAs, and no others, merged into it, one
 * after another; of none, bit for bit what was opened. At most PICTOR_LORAS_MAX; their files may be
 * closed afterwards. On failure (ERR_INVALID, ERR_UNSUPPORTED) the model has none. */
bool pictor_model_merge(struct pictor_model *model, const struct pictor_lora *loras, size_t count,
                        struct err *err);

/* A ControlNet: a network that leads pictures by another one, of edges for example. */
#define PICTOR_CONTROLS_MAX 4
struct pictor_control_file {
    const char *name; /* for messages */
    int fd;           /* of the file, to read from */
};

/* From now on the model has these ControlNets, and no others. Their files may be closed afterwards.
 * On failure (ERR_INVALID, ERR_UNSUPPORTED) it has none. */
bool pictor_model_control(struct pictor_model *model, const struct pictor_control_file *files,
                          size_t count, struct err *err);

/* From now on previews are what this tiny autoencoder (TAESD, its decoder at least) makes of a
 * latent, at most 512 pixels a side; NULL, and on failure (ERR_INVALID, ERR_UNSUPPORTED): they are
 * a small matrix a latent pixel. The file may be closed afterwards. */
bool pictor_model_previews(struct pictor_model *model, const struct pictor_control_file *file,
                           struct err *err);

/* Whose say a ControlNet's is (sd-webui-controlnet's control_mode): as trained; the prompt's first,
 * and it leads less the further out in the network it is; its own first, and what a picture is led
 * away from goes without it besides, so that guidance makes it stronger. */
enum pictor_say { PICTOR_SAY_BALANCED, PICTOR_SAY_PROMPT, PICTOR_SAY_CONTROL };

/* What a ControlNet leads a picture by. */
struct pictor_control {
    const struct pictor_image *image; /* what it was trained to see, of any size */
    enum pictor_fit fit;
    double weight;     /* 0..10; 1 is as trained */
    double start, end; /* it leads from this share of the steps to that, 0..1 */
    enum pictor_say say;
    /* Masks as pictor_params.mask is one, fitted as `image` is; NULL: none. Where `hidden` is white
     * the picture is not shown, as ControlNets that inpaint want it; `region`, where it leads, and
     * how much. */
    const struct pictor_image *hidden, *region;
};

/* A textual inversion: a small file of vectors that its name stands for in prompts. */
#define PICTOR_EMBEDDINGS_MAX 32    /* of a picture */
#define PICTOR_EMBEDDING_VECTORS 75 /* of one: what a chunk of a prompt has room for */
struct pictor_embedding {
    const char *name; /* the word, and what is behind its last slash */
    int fd;           /* of the file, to read from */
};

/* From now on these names stand for what their files hold, and no others. Their files may be closed
 * afterwards. One for text encoders of other widths is left out, and logged. On failure
 * (ERR_INVALID, ERR_UNSUPPORTED) there are none. */
bool pictor_model_embed(struct pictor_model *model, const struct pictor_embedding *list,
                        size_t count, struct err *err);

/* What such a file says of itself. */
struct pictor_embedding_info {
    int vectors;   /* 0: it is no such file */
    int widths[2]; /* numbers of a vector for the first text encoder and, of a file for SDXL, for
                      the second one; or 0 */
    int step;      /* after how much training it was written; -1: it does not say */
    char checkpoint[32], checkpoint_name[96]; /* that it was trained with: a hash, a name; or "" */
};

/* Whether the model's text encoders take such vectors. */
bool pictor_embedding_fits(const struct pictor_embedding_info *embedding,
                           const struct pictor_model_info *model);

/* Gives the memory of its weights back until a picture wants them: for models that paint together
 * and do not fit into the memory limit at once. They are read again from its files, with its LoRAs.
 * False: this kind of model cannot. */
bool pictor_model_rest(struct pictor_model *model);

void pictor_model_free(struct pictor_model *model);
const struct pictor_model_info *pictor_model_info(const struct pictor_model *model);

/* What pictor_model_info would say, from the files' headers alone; weight_bytes is 0. Nothing is
 * mapped: no file can harm the process that asks. */
bool pictor_model_probe(const char *path, struct pictor_model_info *out, struct err *err);

/* Makes of what is known of a model what is known of it as that variant, where its files leave that
 * open. */
void pictor_model_vary(struct pictor_model_info *info, enum pictor_variant variant);

/* What a file is, told from its names and shapes, whatever it is called and wherever it lies. */
enum pictor_kind {
    PICTOR_KIND_MODEL,
    PICTOR_KIND_LORA,
    PICTOR_KIND_VAE,
    PICTOR_KIND_UPSCALER,
    PICTOR_KIND_EMBEDDING,
    PICTOR_KIND_CONTROLNET,
    PICTOR_KIND_TEXT_ENCODER,
    PICTOR_KIND_UNKNOWN
};

struct pictor_file_info {
    enum pictor_kind kind;
    bool readable;     /* its header is sound */
    char family[32];   /* what it goes with, where that can be told: "sd1", "flux"; or "" */
    char title[64];    /* from the file's metadata, or "" */
    char trigger[256]; /* words that a LoRA wants in prompts, from its metadata, or "" */
    char alias[128];   /* what its trainer called it (ss_output_name), or "" */
    struct pictor_model_info model; /* of a model that can be painted with */
    bool lone; /* it is a model's UNet alone: it is to be opened as that, with the text encoders and
                  the VAE of its family beside it (pictor_files_add) */
    int words; /* channels of a word: of Qwen3's, which a transformer alone takes, or which a file
                  has that is that; 0: not known */
    struct pictor_embedding_info embedding;
};

/* The kinds of models that are run here ("sd1"), from 0; NULL: there are no more. Any thread. */
const char *pictor_family_name(size_t index);

/* Whether models of a family ("sdxl-refiner") can go on with the latents of another's ("sdxl"), as
 * far as the names tell: what is no family's name may be anything's. Any thread. */
bool pictor_latents_alike(const char *family, const char *other);

/* Tells the kind from the headers alone, as pictor_model_probe. Fails for what cannot be read, with
 * kind PICTOR_KIND_UNKNOWN; for models that cannot be painted with; and for what is of no kind. Of
 * other kinds than models only the kind is looked at: they may still turn out broken. */
bool pictor_file_probe(const char *path, struct pictor_file_info *out, struct err *err);

/* "model", "lora", "vae", "upscaler", "embedding", "controlnet", "text-encoder", "unknown". */
const char *pictor_kind_name(enum pictor_kind kind);

/* A network that enlarges pictures: ESRGAN, Real-ESRGAN (RRDBNet) or SRVGGNetCompact. */
struct pictor_upscaler;
struct pictor_upscaler_info {
    int scale;           /* pixels a side that one becomes */
    size_t weight_bytes; /* packed, in memory */
};

/* Names the one inside the binary, x4, where an upscaler has a name (hires_upscaler). */
#define PICTOR_UPSCALER "realesr-animevideov3"

/* One file; none is the one inside the binary. Everything in it is checked; it may be closed
 * afterwards. Returns owned; free before the engine. */
struct pictor_upscaler *pictor_upscaler_open_files(struct pictor_engine *engine,
                                                   const struct pictor_files *files,
                                                   struct err *err);
void pictor_upscaler_free(struct pictor_upscaler *upscaler);
const struct pictor_upscaler_info *pictor_upscaler_info(const struct pictor_upscaler *upscaler);

/* Called on the calling thread with how much is done, 0..1; return false to cancel. */
typedef bool pictor_upscale_fn(void *ctx, double share);

/* `in` at another size: enlarged by the network as often as that takes, three times at most, and
 * brought to the size by Lanczos. `out` is RGB, owned by the caller. `fn` may be NULL. As
 * pictor_generate, it is stopped by pictor_engine_cancel. ERR_TOO_LARGE: beyond the memory limit,
 * which also decides how large the tiles are that are enlarged at once. */
bool pictor_upscale(struct pictor_upscaler *upscaler, const struct pictor_image *in, int width,
                    int height, pictor_upscale_fn *fn, void *ctx, struct pictor_image *out,
                    struct err *err);

/* What is known after each step. `step` counts finished denoising steps, 0..steps; every step of
 * a picture is reported, first {0, steps}. Details that a model paints over without being asked for
 * a second pass are part of the steps, which take longer then, and are not more. */
struct pictor_progress {
    int step, steps;
    double elapsed, step_seconds;       /* since the start; of the last step */
    double seconds_left;                /* of all steps; never grows; < 0: not known yet */
    const struct pictor_image *preview; /* RGB, usually at latent size (1/8), or NULL; borrowed */
};

/* Speed for exactness; the zero value is exact. What each costs is in docs/performance.md. */
struct pictor_speed {
    /* Noise levels (sigma, 0..1000) outside of which there is no guidance, which halves the work
     * (Kynkaanniemi et al. 2024). high 0: no upper end. Alternate: below `low` every second call
     * has guidance, as SD WebUI's "negative guidance minimum sigma". */
    double guidance_low, guidance_high;
    bool guidance_alternate;
    /* The deep levels of the UNet run in every n-th call, in the others what they said last is
     * taken (Ma et al. 2023, "DeepCache"); 0 and 1: in every one; at most 20. */
    int reuse_every;
    /* Share of the keys that self-attention at full resolution leaves out, 0..0.9. */
    double token_merging;
};

/* What samplers and guidance can be told; pictor_params_init's values change nothing. */
struct pictor_sampling {
    /* Noise added before each step, of samplers that have churn (Karras et al. 2022, algorithm 2),
     * from sigma churn_low to churn_high, 0: without end. 0..100. */
    double churn, churn_low, churn_high;
    double noise_scale;      /* what fresh noise is multiplied by, 0.1..2; 1 */
    double guidance_rescale; /* how far what guidance says is brought back to the spread of what the
                                prompt says (Lin et al. 2023, section 3.4), 0..1 */
    double guidance_skip;    /* share of the calls, from the first, without guidance, 0..1 */
    bool zero_terminal;      /* the last noise level is without signal (Lin et al. 2023, 3.1) */
    bool sgm_noise;          /* text to image begins with a variance of sigma^2 + 1, not sigma^2 */
    bool discard_last;       /* the schedule goes to 0 without its smallest level */
    /* Where schedules with ends begin and end (sigma, 0..1000), and how those with a rho are bent
     * (0.1..100); 0: as the model and the schedule have it. */
    double sigma_min, sigma_max, rho;
    double beta_alpha, beta_beta; /* the distribution of the schedule Beta, 0.01..10; 0: 0.6 */
};

struct pictor_params {
    const char *prompt, *negative_prompt; /* UTF-8; SD WebUI's syntax: docs/prompts.md */
    enum pictor_syntax syntax;
    enum pictor_emphasis emphasis;
    int comma_backtrack; /* a full chunk of 75 tokens ends behind a comma that is at most so many
                            tokens back, 0..74 */
    bool old_editing;  /* [a:b:when] as SD WebUI had it before 1.6: `when` below 1 is a fraction */
    int width, height; /* pixels; multiples of 8, 64..limits of memory */
    int steps;         /* 1..1000 */
    float guidance;    /* classifier-free guidance scale; 1 is none */
    float image_guidance;  /* how closely an edited picture follows the one before, of models that
                              edit; 1: no such guidance, NAN: the model's own */
    const char *sampler;   /* name or alias, case ignored: "Euler a", "k_euler_a" */
    const char *scheduler; /* "automatic" (the sampler's own), "uniform", "karras" */
    double eta;            /* ancestral / DDIM noise; NAN: the sampler's own */
    uint64_t seed;
    uint64_t subseed;        /* variation: slerp(noise(seed), noise(subseed)) */
    double subseed_strength; /* 0..1; 0 is none */
    enum pictor_rng rng;
    int noise_seed_delta; /* added to the seed of the noise that is drawn while sampling, 0..: the
                             SD WebUI's ENSD; 0: the first draw's generator goes on */
    int clip_skip;        /* 1 is the last layer */
    bool tiling;          /* the picture goes on at one edge as it ends at the other */
    /* The seed's noise is that of a picture of this size, in the middle of this one's; 0: of this
     * one's. */
    int seed_resize_width, seed_resize_height;

    /* Painting over a picture: NULL init is text to image. */
    const struct pictor_image *init; /* RGB or RGBA (flattened on white), any size */
    const struct pictor_image *mask; /* grey, RGB or RGBA; white is repainted; NULL: everything */
    double strength;                 /* 0..1 denoising strength */
    enum pictor_fit fit;
    enum pictor_fill fill;
    float mask_blur;   /* Gaussian sigma in pixels, 0..64 */
    float mask_blur_y; /* of it downwards; NAN: as across */
    bool mask_invert;
    bool mask_soft;          /* grey is repainted by degrees; else what is at least half white is */
    bool colour_correction;  /* the picture gets the colours of the one that it was begun from */
    double noise_multiplier; /* of the noise that painting over a picture begins with, 0..1.5 */
    bool mask_only_area; /* paint the mask's surroundings at full width x height, then paste back;
                            the picture then keeps the size of `init` */
    int mask_padding;    /* pixels around the mask for mask_only_area */
    double mask_weight;  /* how much of the picture is hidden from a model that is shown what the
                            mask leaves, 0..1; NAN: 1 */

    /* Pictures that the model is shown, of any size, beside the one that is begun from: what to
     * paint from, and by. At most pictor_model_info.references together. */
    const struct pictor_image *const *references;
    size_t reference_count;

    /* One for each of the model's ControlNets, in their order. */
    const struct pictor_control *controls;
    size_t control_count;

    /* Second pass at a larger size ("hires fix"); hires_width 0: none. */
    int hires_width, hires_height;
    int hires_steps;       /* 0: as steps */
    double hires_strength; /* denoising strength of the second pass */
    bool hires_crop;       /* of another shape than the first pass: cut out of the middle of one
                              that covers it; else stretched */
    const char
        *hires_upscaler; /* "Latent", its five kinds, "Lanczos", "Nearest", PICTOR_UPSCALER */
    const struct pictor_upscaler *hires_network; /* NULL; or what that names where it is none */
    /* Of the second pass, as all that follows; NULL: what paints the first one. Its latents may be
     * others, unless hires_upscaler is one of latents. */
    struct pictor_model *hires_model;
    /* NULL or "": as the first one's. */
    const char *hires_prompt, *hires_negative_prompt, *hires_sampler, *hires_scheduler;

    /* A second model, which takes over towards the end of a pass and then has the last word, the
     * decoder's included: where the share of the trained times that are behind (of the calls with
     * refiner_by_steps) has come to refiner_at, 0..1; 0: from the first call, 1 or NULL: there is
     * none. Its latents must be the first one's. ControlNets lead only the first. */
    struct pictor_model *refiner;
    double refiner_at;
    bool refiner_by_steps;
    enum pictor_refine refiner_pass;

    struct pictor_speed speed;
    struct pictor_sampling sampling;

    int preview_every; /* steps between previews; 0: none */
    /* Called on the calling thread; return false to cancel. May be NULL. While a network enlarges
     * the picture it is called with the last step again, every second or so, of 0 seconds. */
    bool (*on_progress)(void *ctx, const struct pictor_progress *progress);
    void *ctx;
};

/* Defaults for this model (native size, its guidance and steps, Euler a, automatic, NV noise).
 * `model` may be NULL. */
void pictor_params_init(struct pictor_params *params, const struct pictor_model *model);

/* Checks the parameters and says how many bytes of activations the picture needs, without
 * painting. Fails with the parameter's name, what was wanted and what came. */
bool pictor_check(struct pictor_model *model, const struct pictor_params *params, size_t *bytes,
                  struct err *err);

/* Whether a model could read the params' prompt, or its negative one: what its brackets are, and
 * whether it has at most 16200 tokens (ERR_TOO_LARGE) at any time, as pictor_generate would say. Of
 * the params, what concerns prompts, steps and sampler counts. Any thread. */
bool pictor_prompt_check(const struct pictor_params *params, bool negative, struct err *err);

/* A word that stands for vectors of its own, as a textual inversion's name does. */
struct pictor_word {
    const char *name;
    int vectors; /* 1..PICTOR_EMBEDDING_VECTORS */
    bool used;   /* it is in the prompt */
};

/* The same with words; `used` becomes true of each that the prompt has at some time. */
bool pictor_prompt_words(const struct pictor_params *params, bool negative,
                         struct pictor_word *words, size_t count, struct err *err);

/* How long a prompt is. Where it changes while a picture is painted, or is several prompts joined
 * by AND, it becomes several texts, and the longest of them counts. */
struct pictor_prompt_size {
    size_t texts;
    size_t tokens;       /* filling before a BREAK, and behind a comma that ends a chunk, too */
    size_t chunks;       /* 1.. */
    size_t chunk_tokens; /* that a chunk has room for */
    size_t tokens_most;  /* that a prompt may have */
};

/* T5's words, for counting; models of some architectures have them in their files. By the files'
 * headers: nothing is mapped, and they may be closed afterwards. ERR_NOT_FOUND: the model has no
 * T5. Read-only: any number of threads may use one. Returns owned. */
struct pictor_vocabulary;
struct pictor_vocabulary *pictor_vocabulary_open(const struct pictor_files *files, struct err *err);
void pictor_vocabulary_free(struct pictor_vocabulary *v);
bool pictor_vocabulary_wanted(const char *architecture);
/* Whether a file by itself is such a vocabulary: a whole spiece.model. */
bool pictor_vocabulary_check(int fd, struct err *err);

/* The same of a model that reads Qwen's tokens or T5's, by its `architecture`, without those that
 * every prompt is put between; such a prompt is one chunk. `vocabulary`: of a model that reads
 * T5's; NULL: what CLIP reads beside it counts alone. ERR_UNSUPPORTED: it reads others, or none are
 * known; ERR_TOO_LARGE: it is longer than `out` says that one may be. `out` may be NULL. */
bool pictor_prompt_tokens(const char *architecture, const struct pictor_vocabulary *vocabulary,
                          const struct pictor_params *params, bool negative,
                          struct pictor_prompt_size *out, struct err *err);

/* The same as pictor_prompt_words, for models that read CLIP's tokens, with the prompt's length. */
bool pictor_prompt_measure(const struct pictor_params *params, bool negative,
                           struct pictor_word *words, size_t count, struct pictor_prompt_size *out,
                           struct err *err);

/* Whether a prompt reads alike as PICTOR_SYNTAX_WEBUI and as PICTOR_SYNTAX_WEIGHTS: it does not
 * change, and is no several prompts. Any thread. */
bool pictor_prompt_is_simple(const char *prompt);

/* Paints one picture. `out` is RGB, owned by the caller afterwards. Same seed, same CPU level,
 * any thread count: the same bytes. */
bool pictor_generate(struct pictor_model *model, const struct pictor_params *params,
                     struct pictor_image *out, struct err *err);

/* The samplers and schedulers there are, for lists: index from 0, NULL past the end. */
struct pictor_sampler_info {
    const char *name;              /* "DPM++ 2M" */
    const char *alias;             /* "k_dpmpp_2m" */
    const char *default_scheduler; /* what "automatic" means for it: "uniform" or "karras" */
    const char *eta_name; /* what the SD WebUI's infotext calls its eta: "Eta", "Eta DDIM"; NULL:
                             eta says nothing to it */
    double default_eta;   /* how much fresh noise it adds where params.eta is NAN */
    bool ancestral;       /* replaces noise by fresh noise between steps ("Euler a") */
    bool sde;             /* its fresh noise is cut out of one path over sigma (DPM++ SDE) */
    bool churns;          /* has churn */
    bool scales_noise;    /* minds noise_scale */
    bool second_order;    /* calls the model twice a step, as a rule */
};
const struct pictor_sampler_info *pictor_sampler_at(int index);

struct pictor_scheduler_info {
    const char *name;   /* "karras" */
    const char *label;  /* "Karras" */
    double default_rho; /* -1: has none */
    bool needs_model;   /* its sigmas come from the model's table */
    const char *alias;  /* "SGMUniform", or NULL */
    bool has_ends;      /* minds sigma_min and sigma_max */
    bool has_beta;      /* minds beta_alpha and beta_beta */
};
const struct pictor_scheduler_info *pictor_scheduler_at(int index);

/* Exact, then case-insensitive, then alias; also "DPM++ 2M Karras" = sampler + scheduler:
 * then *scheduler is set. NULL when unknown. */
const struct pictor_sampler_info *
pictor_sampler_find(const char *name, const struct pictor_scheduler_info **scheduler);
const struct pictor_scheduler_info *pictor_scheduler_find(const char *name);

/* Whether a flow model can be painted with by the sampler of that name, as above; and the names of
 * those that are for such: "Euler, Heun, ...". Returns buf. */
bool pictor_sampler_flows(const char *name);
const char *pictor_sampler_flow_names(char *buf, size_t size);

#endif
