#include "server/api/sdapi/sdapi_args.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool sdapi_args_refuse(struct sdapi_fault *fault, const char *fmt, ...)
{
    va_list args;
    *fault = (struct sdapi_fault){.status = 422, .param = "script_args"};
    va_start(args, fmt);
    vsnprintf(fault->message, sizeof fault->message, fmt, args);
    va_end(args);
    return false;
}

bool sdapi_args_no_memory(struct sdapi_fault *fault)
{
    *fault = (struct sdapi_fault){.status = 500, .crash = "MemoryError"};
    snprintf(fault->message, sizeof fault->message, "out of memory");
    return false;
}

bool sdapi_args_number(const struct sdapi_request *r, int i, const char *name, double least,
                       double most, double *out, struct sdapi_fault *fault)
{
    const cJSON *arg = cJSON_GetArrayItem(r->script_args, i);
    char *end = NULL;
    double value = *out;
    if (cJSON_IsString(arg))
        value = strtod(arg->valuestring, &end);
    else if (cJSON_IsNumber(arg))
        value = arg->valuedouble;
    else if (arg && !cJSON_IsNull(arg))
        value = NAN;
    if ((end && (end == arg->valuestring || *end)) || !(value >= least && value <= most))
        return sdapi_args_refuse(fault, "script_args[%d], %s, must be a number of %g..%g", i, name,
                                 least, most);
    *out = value;
    return true;
}
