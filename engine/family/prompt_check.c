/* prompt_check.c: pictor_prompt_check of pictor.h: a prompt's length without a model. One tokenizer
 * serves all callers; it is made at the first call and stays. */
#include <pthread.h>

#include "engine/pictor.h"
#include "engine/text/chunk.h"

static struct tokenizer *tokenizer;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make(void)
{
    tokenizer = tokenizer_new(NULL);
}

bool pictor_prompt_check(const char *prompt, struct err *err)
{
    struct chunk_list list;
    pthread_once(&once, make);
    if (!tokenizer)
        return err_set(err, ERR_INTERNAL, "no memory for a tokenizer");
    if (!chunk_prompt(tokenizer, prompt, TOKENIZER_END, &list, err))
        return false;
    chunk_list_free(&list);
    return true;
}
