/* fields.h: the fields of a job. A field's home is its line here:
 *
 *     JOB_FIELD(type, name, members of struct job_field...)
 *
 * job_field.h says what the members mean and what is made of them. Whoever includes this file has
 * defined JOB_FIELD and takes from each line what it needs; the file ends that definition. So there
 * is no guard.
 *
 * The order is that of the infotext, which SD WebUI has laid down. What the infotext does not have
 * comes last. */

JOB_FIELD(TEXT, prompt, .required = true, .limit = JOB_MAX_PROMPT, ENGINE(prompt), .flag = "prompt",
          .letter = 'p', .value = "TEXT",
          .doc = "what to paint; (word:1.2) weighs, [a:b:0.5] and [a|b] change while it is "
                 "painted, AND joins prompts")
JOB_FIELD(TEXT, negative_prompt, .text = "", .limit = JOB_MAX_PROMPT, ENGINE(negative_prompt),
          .flag = "negative", .letter = 'n', .value = "TEXT", .doc = "what to keep away from")
JOB_FIELD(WHOLE, steps, .optional = true, .of_model = true, .usual = 20, .least = 1,
          .limit = JOB_MAX_STEPS, ENGINE(steps), .infotext = "Steps", .always = true,
          .flag = "steps", .value = "N", .doc = "denoising steps")
JOB_FIELD(TEXT, sampler, .optional = true, .text = "Euler a", .known = sampler_name,
          ENGINE(sampler), .infotext = "Sampler", .form = JOB_FORM_SAMPLER, .flag = "sampler",
          .value = "NAME",
          .doc = "how noise is taken away: Euler a, DPM++ 2M, DDIM, LCM, ...")
JOB_FIELD(TEXT, scheduler, .optional = true, .text = "automatic", .known = scheduler_name,
          ENGINE(scheduler), .infotext = "Schedule type", .form = JOB_FORM_SCHEDULE,
          .flag = "scheduler", .value = "NAME",
          .doc = "how much noise each step leaves: uniform, karras, ...")
JOB_FIELD(REAL, guidance, .optional = true, .of_model = true, .usual = 7, .most = 100,
          ENGINE(guidance), .infotext = "CFG scale", .form = JOB_FORM_GUIDANCE, .always = true,
          .flag = "cfg", .value = "X",
          .doc = "guidance: how closely to follow the words; 1 is none")
JOB_FIELD(REAL, image_guidance, .optional = true, .of_model = true, .usual = 1, .most = 100,
          ENGINE(image_guidance), .part = JOB_OF_INIT, .infotext = "Image CFG scale", .silent = 1,
          .flag = "image-cfg", .value = "X",
          .doc = "how closely a model that edits keeps to the picture; 1 is no such guidance")
JOB_FIELD(SEED, seed, ENGINE(seed), .infotext = "Seed", .flag = "seed", .value = "N",
          .doc = "which of all pictures; a job's next one has seed + 1")
JOB_FIELD(WHOLE, width, .optional = true, .of_model = true, .least = 64, .limit = JOB_MAX_SIDE,
          .multiple = 8, ENGINE(width), .infotext = "Size", .form = JOB_FORM_SIZE, .flag = "width",
          .value = "N", .doc = "pixels, a multiple of 8")
JOB_FIELD(WHOLE, height, .optional = true, .of_model = true, .least = 64, .limit = JOB_MAX_SIDE,
          .multiple = 8, ENGINE(height), .form = JOB_FORM_SECOND, .flag = "height", .value = "N",
          .doc = "pixels, a multiple of 8")
JOB_FIELD(TEXT, model, .infotext = "Model", .form = JOB_FORM_MODEL, .flag = "model", .letter = 'm',
          .value = "NAME|PATH", .doc = "which model paints; left out: the default one")

JOB_FIELD(TEXT, vae, .most = 255, .infotext = "VAE", .flag = "vae", .value = "NAME",
          .doc = "what decodes: automatic, none (the VAE of the model) or a VAE file")

/* A variation: noise between that of the seed and that of another one. */
JOB_FIELD(SEED, subseed, ENGINE(subseed), .part = JOB_OF_VARIATION, .infotext = "Variation seed",
          .flag = "subseed", .value = "N",
          .doc = "seed of the variation; a job's next picture has subseed + 1")
JOB_FIELD(REAL, subseed_strength, .most = 1, ENGINE(subseed_strength), .part = JOB_OF_VARIATION,
          .infotext = "Variation seed strength", .always = true, .flag = "subseed-strength",
          .value = "X", .doc = "how far to go from the seed's noise to the subseed's, 0..1")

JOB_FIELD(WHOLE, seed_resize_width, .limit = JOB_MAX_SIDE, ENGINE(seed_resize_width),
          .part = JOB_OF_SEED_SIZE, .infotext = "Seed resize from", .form = JOB_FORM_SIZE,
          .flag = "seed-resize-width", .value = "N",
          .doc = "the seed's noise is that of a picture so wide, in the middle; 0: as wide as this")
JOB_FIELD(WHOLE, seed_resize_height, .limit = JOB_MAX_SIDE, ENGINE(seed_resize_height),
          .part = JOB_OF_SEED_SIZE, .form = JOB_FORM_SECOND, .flag = "seed-resize-height",
          .value = "N", .doc = "and so high; 0: as high as this")

JOB_FIELD(REAL, strength, .optional = true, .usual = 0.75, .most = 1, ENGINE(strength),
          .part = JOB_OF_INIT, .infotext = "Denoising strength", .form = JOB_FORM_STRENGTH,
          .flag = "strength", .value = "X",
          .doc = "how much of the picture begun from to change, 0..1")
JOB_FIELD(REAL, mask_weight, .optional = true, .of_model = true, .usual = JOB_NO_REAL, .most = 1,
          ENGINE(mask_weight), .infotext = "Conditional mask weight", .always = true,
          .flag = "mask-weight", .value = "X",
          .doc = "how much an inpainting model is not to see of what the mask covers, 0..1")
JOB_FIELD(WHOLE, clip_skip, .usual = 1, .least = 1, .most = 12, ENGINE(clip_skip),
          .infotext = "Clip skip", .silent = 1, .flag = "clip-skip", .value = "N",
          .doc = "layer of the text encoder that speaks; 1 is the last")
JOB_FIELD(WHOLE, noise_seed_delta, .most = INT_MAX, ENGINE(noise_seed_delta), .infotext = "ENSD",
          .flag = "noise-seed-delta", .value = "N",
          .doc = "added to the seed for the noise that ancestral samplers draw")
JOB_FIELD(REAL, token_merging, .usual = JOB_NO_REAL, .most = 0.9, SETTING(token_merging),
          ENGINE(speed.token_merging), .infotext = "Token merging ratio",
          .doc = "share of the keys that self-attention at full resolution leaves out")
JOB_FIELD(WORD, rng, .words = rngs, ENGINE(rng), .infotext = "RNG", .labels = rng_labels,
          .flag = "rng", .doc = "whose random numbers: CUDA's or torch's on a CPU")
JOB_FIELD(FLAG, tiling, ENGINE(tiling), .infotext = "Tiling", .labels = truths, .flag = "tiling",
          .doc = "the picture goes on at one edge as it ends at the other")

/* A second pass at a larger size. */
JOB_FIELD(WHOLE, hires_width, .limit = JOB_MAX_SIDE, .multiple = 8, ENGINE(hires_width),
          .part = JOB_OF_HIRES, .infotext = "Hires resize", .form = JOB_FORM_HIRES, .flag = "hires",
          .value = "WxH", .doc = "paint again at this size; 0 is no second pass")
JOB_FIELD(WHOLE, hires_height, .limit = JOB_MAX_SIDE, .multiple = 8, ENGINE(hires_height),
          .part = JOB_OF_HIRES, .form = JOB_FORM_SECOND, .doc = "height of the second pass")
JOB_FIELD(WHOLE, hires_steps, .limit = JOB_MAX_STEPS, ENGINE(hires_steps), .part = JOB_OF_HIRES,
          .infotext = "Hires steps", .flag = "hires-steps", .value = "N",
          .doc = "steps of the second pass; 0: as many as of the first")
JOB_FIELD(TEXT, hires_upscaler, .text = "Latent", .most = UPSCALERS_NAME - 1,
          .known = upscalers_known, ENGINE(hires_upscaler), .part = JOB_OF_HIRES,
          .infotext = "Hires upscaler", .flag = "hires-upscaler", .value = "NAME",
          .doc = "how the first pass is enlarged: Latent, Lanczos, realesr-animevideov3, a file")
JOB_FIELD(REAL, hires_strength, .usual = 0.7, .most = 1, ENGINE(hires_strength),
          .part = JOB_OF_HIRES, .infotext = "Hires denoising strength",
          .form = JOB_FORM_HIRES_STRENGTH, .flag = "hires-strength", .value = "X",
          .doc = "how much the second pass may change, 0..1")
JOB_FIELD(FLAG, hires_crop, ENGINE(hires_crop), .part = JOB_OF_HIRES, .infotext = "Hires crop",
          .labels = truths, .flag = "hires-crop",
          .doc = "a second pass of another shape is cut out of the middle; else it is stretched")

JOB_FIELD(TEXT, hires_model, .most = 255, .part = JOB_OF_HIRES, .infotext = "Hires checkpoint",
          .flag = "hires-model", .value = "NAME|PATH",
          .doc = "which model paints the second pass; left out: the same")
JOB_FIELD(TEXT, hires_sampler, .optional = true, .known = sampler_name, ENGINE(hires_sampler),
          .form = JOB_FORM_SAMPLER,
          .part = JOB_OF_HIRES, .infotext = "Hires sampler", .flag = "hires-sampler",
          .value = "NAME", .doc = "sampler of the second pass; left out: the first one's")
JOB_FIELD(TEXT, hires_scheduler, .optional = true, .known = scheduler_name,
          ENGINE(hires_scheduler), .part = JOB_OF_HIRES, .infotext = "Hires schedule type",
          .form = JOB_FORM_LABEL, .flag = "hires-scheduler", .value = "NAME",
          .doc = "scheduler of the second pass; left out: the first one's")
JOB_FIELD(TEXT, hires_prompt, .optional = true, .limit = JOB_MAX_PROMPT, ENGINE(hires_prompt),
          .part = JOB_OF_HIRES, .infotext = "Hires prompt", .flag = "hires-prompt",
          .value = "TEXT", .doc = "what the second pass paints; left out: the same")
JOB_FIELD(TEXT, hires_negative_prompt, .optional = true, .limit = JOB_MAX_PROMPT,
          ENGINE(hires_negative_prompt), .part = JOB_OF_HIRES,
          .infotext = "Hires negative prompt", .flag = "hires-negative", .value = "TEXT",
          .doc = "what to keep the second pass away from; left out: the same")

/* A second model that takes over towards the end. */
JOB_FIELD(TEXT, refiner, .most = 255, .infotext = "Refiner", .flag = "refiner",
          .value = "NAME|PATH", .doc = "which model goes on with the picture towards its end")
JOB_FIELD(REAL, refiner_at, .usual = 0.8, .most = 1, ENGINE(refiner_at), .part = JOB_OF_REFINER,
          .infotext = "Refiner switch at", .always = true, .flag = "refiner-at", .value = "X",
          .doc = "from where on, as a share of the model's time, 0..1; 1: no refiner")
JOB_FIELD(FLAG, refiner_by_steps, ENGINE(refiner_by_steps), .part = JOB_OF_REFINER,
          .infotext = "Refiner switch by sampling steps", .labels = truths,
          .flag = "refiner-by-steps", .doc = "refiner_at is a share of the steps")
JOB_FIELD(WORD, refiner_pass, .words = refiner_passes, ENGINE(refiner_pass), .part = JOB_OF_REFINER,
          .infotext = "Hires refiner", .labels = refiner_labels, .flag = "refiner-pass",
          .doc = "which pass the refiner takes over in, of two")

JOB_FIELD(FLAG, mask_invert, ENGINE(mask_invert), .part = JOB_OF_MASK, .infotext = "Mask mode",
          .labels = mask_modes, .flag = "mask-invert", .doc = "repaint where the mask is black")
JOB_FIELD(REAL, mask_blur, .usual = 4, .most = 64, ENGINE(mask_blur), .part = JOB_OF_MASK,
          .infotext = "Mask blur", .form = JOB_FORM_SHORT, .flag = "mask-blur", .value = "X",
          .doc = "pixels by which the mask's edge is softened")
JOB_FIELD(REAL, mask_blur_y, .usual = JOB_NO_REAL, .most = 64, ENGINE(mask_blur_y),
          .part = JOB_OF_MASK, .infotext = "Mask blur y", .form = JOB_FORM_SHORT, .always = true,
          .flag = "mask-blur-y", .value = "X", .doc = "and downwards; left out: as across")
JOB_FIELD(FLAG, mask_soft, ENGINE(mask_soft), .part = JOB_OF_MASK, .infotext = "Soft mask",
          .labels = truths, .flag = "mask-soft",
          .doc = "the mask's greys are repainted by degrees")
JOB_FIELD(FLAG, mask_only_area, ENGINE(mask_only_area), .part = JOB_OF_MASK,
          .infotext = "Inpaint area", .labels = mask_areas, .flag = "mask-only-area",
          .doc = "paint the mask's surroundings alone, at full size")
JOB_FIELD(WHOLE, mask_padding, .usual = 32, .limit = JOB_MAX_SIDE, ENGINE(mask_padding),
          .part = JOB_OF_AREA, .infotext = "Masked area padding", .always = true,
          .flag = "mask-padding", .value = "N",
          .doc = "pixels around the mask that belong to its surroundings")
JOB_FIELD(WORD, fill, .usual = PICTOR_FILL_ORIGINAL, .words = fills, ENGINE(fill),
          .part = JOB_OF_MASK, .infotext = "Masked content", .labels = fill_labels,
          .silent = PICTOR_FILL_ORIGINAL, .flag = "fill", .doc = "what the masked part begins with")

JOB_FIELD(REAL, noise_multiplier, .usual = 1, .most = 1.5, ENGINE(noise_multiplier),
          .part = JOB_OF_INIT, .infotext = "Noise multiplier", .silent = 1,
          .flag = "noise-multiplier", .value = "X",
          .doc = "what the noise over the picture begun from is multiplied by")
JOB_FIELD(FLAG, colour_correction, ENGINE(colour_correction), .part = JOB_OF_INIT,
          .infotext = "Color correction", .labels = truths, .flag = "colour-correction",
          .doc = "the picture gets the colours of the one begun from")

JOB_FIELD(REAL, eta, .usual = JOB_NO_REAL, .most = 1, ENGINE(eta), .infotext = "Eta",
          .form = JOB_FORM_ETA, .flag = "eta", .value = "X",
          .doc = "noise that ancestral samplers and DDIM add; left out: the sampler's own")
JOB_FIELD(REAL, churn, .most = 100, ENGINE(sampling.churn), .part = JOB_OF_CHURN,
          .infotext = "Sigma churn", .flag = "churn", .value = "X",
          .doc = "noise that Euler, Heun and DPM2 add before each step")
JOB_FIELD(REAL, churn_low, .most = 1000, ENGINE(sampling.churn_low), .part = JOB_OF_CHURN,
          .infotext = "Sigma tmin", .doc = "noise level (sigma) below which there is no churn")
JOB_FIELD(REAL, churn_high, .most = 1000, ENGINE(sampling.churn_high), .part = JOB_OF_CHURN,
          .infotext = "Sigma tmax",
          .doc = "noise level (sigma) above which there is no churn; 0: no such level")
JOB_FIELD(REAL, noise_scale, .usual = 1, .least = 0.1, .most = 2, ENGINE(sampling.noise_scale),
          .part = JOB_OF_NOISE, .infotext = "Sigma noise", .silent = 1, .flag = "noise-scale",
          .value = "X", .doc = "what fresh noise is multiplied by, of churn and most samplers")
JOB_FIELD(FLAG, discard_last, ENGINE(sampling.discard_last),
          .infotext = "Discard penultimate sigma", .labels = truths, .flag = "discard-last",
          .doc = "leave out the schedule's smallest noise level before 0")
JOB_FIELD(REAL, sigma_min, .most = 1000, ENGINE(sampling.sigma_min), .part = JOB_OF_ENDS,
          .infotext = "Schedule min sigma", .flag = "sigma-min", .value = "X",
          .doc = "noise level (sigma) that the schedule ends at, before 0; 0: the model's")
JOB_FIELD(REAL, sigma_max, .most = 1000, ENGINE(sampling.sigma_max), .part = JOB_OF_ENDS,
          .infotext = "Schedule max sigma", .flag = "sigma-max", .value = "X",
          .doc = "noise level (sigma) that the schedule begins at; 0: the model's")
JOB_FIELD(REAL, rho, .most = 100, ENGINE(sampling.rho), .part = JOB_OF_RHO,
          .infotext = "Schedule rho", .flag = "rho", .value = "X",
          .doc = "how the schedule is bent, from 0.1; 0: 7 of karras, 1 of polyexponential")
JOB_FIELD(
    REAL, beta_alpha, .usual = 0.6, .least = 0.01, .most = 10, ENGINE(sampling.beta_alpha),
    .part = JOB_OF_BETA, .infotext = "Beta schedule alpha", .always = true, .flag = "beta-alpha",
    .value = "X",
    .doc = "first number of the schedule beta's distribution; less: more steps at little noise")
JOB_FIELD(REAL, beta_beta, .usual = 0.6, .least = 0.01, .most = 10, ENGINE(sampling.beta_beta),
          .part = JOB_OF_BETA, .infotext = "Beta schedule beta", .always = true,
          .flag = "beta-beta", .value = "X",
          .doc = "its second number; less: more steps at much noise")
JOB_FIELD(FLAG, sgm_noise, ENGINE(sampling.sgm_noise), .infotext = "SGM noise multiplier",
          .labels = truths, .flag = "sgm-noise",
          .doc = "begin with a variance of sigma^2 + 1 instead of sigma^2")
JOB_FIELD(REAL, guidance_low, .usual = JOB_NO_REAL, .most = 1000, SETTING(guidance_low),
          ENGINE(speed.guidance_low), .infotext = "NGMS",
          .doc = "noise level (sigma) below which there is no guidance")
JOB_FIELD(FLAG, guidance_alternate, ENGINE(speed.guidance_alternate), .part = JOB_OF_LOW,
          .infotext = "NGMS all steps", .labels = alternate_labels, .silent = 1,
          .flag = "guidance-alternate", .doc = "below guidance_low, guidance in every second step")
JOB_FIELD(REAL, guidance_high, .usual = JOB_NO_REAL, .most = 1000, SETTING(guidance_high),
          ENGINE(speed.guidance_high), .infotext = "Guidance maximum sigma",
          .doc = "noise level (sigma) above which there is no guidance; 0: no such level")
JOB_FIELD(REAL, guidance_skip, .most = 1, ENGINE(sampling.guidance_skip),
          .infotext = "Skip Early CFG", .flag = "guidance-skip", .value = "X",
          .doc = "share of the steps, from the first, without guidance, 0..1")
JOB_FIELD(REAL, guidance_rescale, .most = 1, ENGINE(sampling.guidance_rescale),
          .infotext = "CFG rescale", .flag = "guidance-rescale", .value = "X",
          .doc = "how far guidance is brought back to the prompt's own contrast, 0..1")
JOB_FIELD(FLAG, zero_terminal, ENGINE(sampling.zero_terminal), .infotext = "Noise Schedule",
          .labels = noise_schedules, .flag = "zero-terminal",
          .doc = "the last noise level is without signal (zero terminal SNR)")
JOB_FIELD(WHOLE, reuse_every, .usual = JOB_UNSET, .least = 1, .most = 20, SETTING(reuse_every),
          ENGINE(speed.reuse_every), .infotext = "Feature reuse", .silent = 1,
          .doc = "run the deep levels in every Nth step alone")
JOB_FIELD(WORD, emphasis, .words = emphases, ENGINE(emphasis), .infotext = "Emphasis",
          .labels = emphasis_labels, .flag = "emphasis",
          .doc = "what weights of words do: scale, and the whole back to its mean; scale; nothing; "
                 "their brackets are text")
JOB_FIELD(FLAG, old_editing, ENGINE(old_editing), .infotext = "Old prompt editing timelines",
          .labels = truths, .flag = "old-editing",
          .doc = "in [a:b:when], when below 1 is a fraction, even without a point")
JOB_FIELD(WHOLE, comma_backtrack, .usual = 20, .most = 74, ENGINE(comma_backtrack),
          .infotext = "Comma backtrack", .silent = 20, .flag = "comma-backtrack", .value = "N",
          .doc = "a full chunk of 75 tokens ends behind a comma at most so many tokens back")
JOB_FIELD(WORD, syntax, .words = syntaxes, ENGINE(syntax), .infotext = "Prompt syntax",
          .flag = "syntax",
          .doc = "of prompts: all of the WebUI's, weights and BREAK alone, or none")

JOB_FIELD(TEXT, prompt_template, .about = JOB_STATE, .infotext = "Template",
          .doc = "the prompt before it chose, where it does")
JOB_FIELD(TEXT, negative_template, .about = JOB_STATE, .infotext = "Negative Template",
          .doc = "the negative prompt before it chose, where it does")
JOB_FIELD(TEXT, composed_from, .optional = true, .limit = JOB_MAX_PROMPT, .about = JOB_REQUEST,
          .infotext = "Composed from", .doc = "the idea out of which the prompt was made")
JOB_FIELD(TEXT, embeddings, .about = JOB_STATE, .infotext = "TI hashes",
          .doc = "the textual inversions that its prompts name, and hashes of their files")

/* Not in the infotext: WebUI does not say how a picture was fitted, and the rest does not change
 * what is painted. */
JOB_FIELD(WORD, fit, .words = fits, ENGINE(fit), .part = JOB_OF_INIT, .flag = "fit",
          .doc = "what is done to a picture begun from that has another shape")
JOB_FIELD(WORD, format, .words = image_formats, .doc = "the file's format")
JOB_FIELD(WHOLE, quality, .usual = 90, .most = 100, .flag = "quality", .value = "N",
          .doc = "of JPEG and WebP, 0..100")
JOB_FIELD(WHOLE, count, .usual = 1, .least = 1, .limit = JOB_MAX_COUNT, .about = JOB_REQUEST,
          .flag = "count", .value = "N", .doc = "pictures of the job")
JOB_FIELD(WHOLE, preview_every, .limit = JOB_MAX_STEPS, ENGINE(preview_every), .about = JOB_REQUEST,
          .doc = "steps between previews; 0: none")
JOB_FIELD(TEXT, tag, .optional = true, .most = 128, .about = JOB_REQUEST,
          .doc = "the client's own name for the job")
JOB_FIELD(FLAG, any_format, .about = JOB_STATE,
          .doc = "nobody asked for a format: a picture of an upstream keeps its own")
JOB_FIELD(TEXT, relay, .about = JOB_STATE,
          .doc = "what else was asked of an upstream, as a JSON object")
JOB_FIELD(WHOLE, more_images, .most = RELAY_IMAGES_MAX, .about = JOB_STATE,
          .doc = "pictures that are sent to an upstream beside the one to begin from")
JOB_FIELD(FLAG, has_init, .about = JOB_STATE, .doc = "begun from a picture")
JOB_FIELD(FLAG, has_mask, .about = JOB_STATE, .doc = "a mask says where to repaint")
JOB_FIELD(TEXT, controls, .about = JOB_STATE,
          .doc = "the ControlNets that lead it, as a JSON list; their pictures are inputs")
JOB_FIELD(TEXT, variants, .about = JOB_STATE,
          .doc = "the prompts of each picture, as a JSON list, where they choose")
JOB_FIELD(TEXT, dialect, .about = JOB_STATE, .doc = "the API that the job came by")
JOB_FIELD(FLAG, guidance_told, .about = JOB_STATE,
          .doc = "guidance is a number that the network is told, and costs nothing")
JOB_FIELD(TEXT, notes, .about = JOB_STATE,
          .doc = "what of the request says nothing to its model, \"field: why\", a line each")

#undef JOB_FIELD
