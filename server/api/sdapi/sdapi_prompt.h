/* sdapi_prompt.h: SD WebUI's prompt syntax beyond what the engine reads (docs/prompts.md): what is
 * taken out of a prompt before it is painted. Linear in the prompt. Thread-safe; no state. */
#ifndef PICTOR_SERVER_SDAPI_PROMPT_H
#define PICTOR_SERVER_SDAPI_PROMPT_H

/* "#..." to the end of its line is a comment. malloc'd, NULL without memory. */
char *sdapi_prompt_strip_comments(const char *prompt);

#endif
