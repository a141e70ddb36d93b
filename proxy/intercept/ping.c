#include "proxy/intercept/ping.h"

#include <string.h>

bool ping_is(const struct http_request *req)
{
    bool reads = http_method(req) == HTTP_METHOD_GET || http_method(req) == HTTP_METHOD_HEAD;
    const char *path = http_path(req);

    /* A login is the registry's to check. */
    return reads && (strcmp(path, "/v2/") == 0 || strcmp(path, "/v2") == 0) && !http_header(req, "authorization");
}

bool ping_is_lost(int status)
{
    return status == 429 || status >= 500;
}

void ping_answer(struct http_request *req)
{
    http_reply_header(req, "Docker-Distribution-Api-Version", "registry/2.0");
    http_reply(req, 200, "application/json", "{}", 2);
}
