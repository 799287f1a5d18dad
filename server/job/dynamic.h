/* dynamic.h: prompts that choose, in the syntax of the WebUI's dynamic prompts extension.
 *
 *     {red|blue|{dark|light} green}     one of them; {2::red|blue}: red twice as often
 *     {2$$a|b|c} {1-2$$ and $$a|b|c}    two different ones, one or two, joined by "," or " and "
 *     __color__ __style/ink__ __*__     a line of a file (server/job/wildcards.h), or of some
 *     ${x={red|blue}} ${x} ${x:red}     a variable: chosen at each use, by "=!" once; or else red
 *     \{ \} \|                          the characters; \__ is what no wildcard begins with
 *
 * What a file or a variable holds may choose in turn. A brace that holds no '|' at its own level,
 * and is none of the above, is text, as is everything while no file is there for "__". In a choice
 * a '|' within [square brackets] is theirs. Blanks before an option are not a part of it. */
#ifndef PICTOR_SERVER_DYNAMIC_H
#define PICTOR_SERVER_DYNAMIC_H

#include <stddef.h>
#include <stdint.h>

#include "server/job/wildcards.h"

#define DYNAMIC_DEPTH 32      /* choices, files and variables within each other */
#define DYNAMIC_CHOICES 10000 /* of one text */
#define DYNAMIC_BYTES 131072  /* of what comes out: as much as the engine reads (PROMPT_BYTES) */
#define DYNAMIC_WORK 100000000 /* bytes, options and lines looked at: under a second */

/* What the text becomes by this seed, always the same; owned. NULL: the text is as it is. Fails
 * for files that are not there, variables without a value, what names itself, and what is too much.
 */
bool dynamic_resolve(const char *text, uint64_t seed, struct wildcards *wildcards, char **out,
                     struct err *err);

/* The same, of several texts that have DYNAMIC_WORK together: *work is what they have done, 0 at
 * first. */
bool dynamic_resolve_more(const char *text, uint64_t seed, struct wildcards *wildcards,
                          size_t *work, char **out, struct err *err);

/* What came out is text, and is to be that when it is read again: where it would choose (which
 * takes escapes, or braces whose choice is one of several words), backslashes go before its braces
 * and
 * "__", which whoever reads prompts drops. Owned by the caller; may be replaced. */
bool dynamic_settle(char **text, struct wildcards *wildcards, struct err *err);

#endif
