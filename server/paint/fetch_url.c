/* fetch_url.c: addresses that answers give, by libcurl's own reader of them. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "server/paint/fetch.h"

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

char *fetch_url_within(const char *base, const char *url, struct err *err)
{
    char *text = NULL, *copy = NULL;
    CURLU *a = curl_url(), *b = curl_url();
    if (a && b && curl_url_set(a, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(b, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(b, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK && /* relative */
        same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
        same_part(a, b, CURLUPART_PORT) && curl_url_get(b, CURLUPART_URL, &text, 0) == CURLUE_OK)
        copy = strdup(text);
    if (!copy)
        err_set(err, ERR_UPSTREAM, "it answered an address that is not its own");
    curl_free(text);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return copy;
}
