/* comments.h: what is taken out of a prompt before it is read: "#..." to the end of its line, as
 * the SD WebUI has it (docs/prompts.md). Linear in the prompt. Thread-safe; no state. */
#ifndef PICTOR_SERVER_COMMENTS_H
#define PICTOR_SERVER_COMMENTS_H

/* malloc'd, NULL without memory. */
char *comments_strip(const char *prompt);

#endif
