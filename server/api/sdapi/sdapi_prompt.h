/* sdapi_prompt.h: SD WebUI's prompt syntax beyond what the engine reads (engine/text/prompt.h):
 * what is taken out of a prompt before it is painted, and what would change the picture and is not
 * done here. All are linear in the prompt. Thread-safe; no state. */
#ifndef PICTOR_SERVER_SDAPI_PROMPT_H
#define PICTOR_SERVER_SDAPI_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

/* "#..." to the end of its line is a comment. malloc'd, NULL without memory. */
char *sdapi_prompt_strip_comments(const char *prompt);

/* Whether the prompt changes while it is painted: [from:to:when], [to:when], [from::when] or
 * [a|b]. */
bool sdapi_prompt_has_editing(const char *prompt);

/* Whether it is several prompts: `a AND b`, in capitals. */
bool sdapi_prompt_has_and(const char *prompt);

#endif
