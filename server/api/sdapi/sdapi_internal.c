#include "server/api/sdapi/sdapi_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"

void sdapi_internal_config(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "version", "3.41.2"); /* of gradio, whose shape this is */
    cJSON_AddStringToObject(json, "mode", "blocks");
    cJSON_AddFalseToObject(json, "dev_mode");
    cJSON_AddStringToObject(json, "title", "pictor");
    cJSON_AddArrayToObject(json, "components");
    cJSON_AddArrayToObject(json, "dependencies");
    cJSON_AddObjectToObject(json, "layout");
    sdapi_reply_json(req, json);
}

static char *sysinfo(void)
{
    struct utsname name;
    cJSON *json = cJSON_CreateObject();
    if (uname(&name) == 0) {
        cJSON_AddStringToObject(json, "Platform", name.sysname);
        cJSON_AddStringToObject(json, "Machine", name.machine);
    }
    cJSON_AddStringToObject(json, "Version", "pictor-" PICTOR_VERSION);
    cJSON_AddNumberToObject(json, "CPUs", (double)sysconf(_SC_NPROCESSORS_ONLN));
    cJSON_AddNumberToObject(json, "RAM",
                            (double)sysconf(_SC_PAGESIZE) * (double)sysconf(_SC_PHYS_PAGES));
    cJSON_AddArrayToObject(json, "Extensions");
    char *text = json_text_print(json);
    cJSON_Delete(json);
    return text;
}

static void reply_sysinfo(struct http_request *req, const char *disposition)
{
    char *text = sysinfo();
    if (!text) {
        sdapi_reply_crash(req, "MemoryError", "out of memory");
        return;
    }
    http_reply_header(req, "Content-Disposition", disposition);
    http_reply_data(req, 200, "text/plain; charset=utf-8", text, strlen(text), cJSON_free);
}

void sdapi_internal_sysinfo(struct http_request *req)
{
    reply_sysinfo(req, "inline; filename=\"sysinfo.json\"");
}

void sdapi_internal_sysinfo_file(struct http_request *req)
{
    reply_sysinfo(req, "attachment; filename=\"sysinfo.json\"");
}

void sdapi_internal_quicksettings(struct http_request *req)
{
    cJSON *list = cJSON_CreateArray();
    const char *name;
    for (int i = 0; (name = sdapi_options_name(i)); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", name);
        cJSON_AddStringToObject(item, "label", name);
        cJSON_AddItemToArray(list, item);
    }
    sdapi_reply_json(req, list);
}

void sdapi_internal_profile(struct http_request *req)
{
    sdapi_reply_json(req, cJSON_CreateObject());
}

/* As if there were no such path. */
static bool is_let(struct http_request *req)
{
    if (http_app(req)->settings->api_server_stop)
        return true;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "detail", "Not Found");
    cJSON_AddStringToObject(json, "message", "the setting api_server_stop is off");
    http_reply_json(req, 404, json);
    return false;
}

void sdapi_internal_stop(struct http_request *req)
{
    static char text[] = "Stopping.";
    if (!is_let(req))
        return;
    http_reply_data(req, 200, "text/plain; charset=utf-8", text, sizeof text - 1, NULL);
    kill(getpid(), SIGTERM);
}

void sdapi_internal_restart(struct http_request *req)
{
    if (is_let(req))
        sdapi_reply_exception(req, 501, "the server cannot start itself again");
}

void sdapi_internal_train(struct http_request *req)
{
    sdapi_reply_exception(req, 501, "this server trains nothing");
}
