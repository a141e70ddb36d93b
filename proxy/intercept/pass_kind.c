/* What kind of request it is: a pull, or one to pass on. */
#include "proxy/intercept/pass.h"

#include "proxy/intercept/path.h"

#include <string.h>
#include <strings.h>

bool pass_is_pull(const struct http_request *req)
{
    enum http_method m = http_method(req);
    struct path path;

    if ((m != HTTP_METHOD_GET && m != HTTP_METHOD_HEAD) || http_body_length(req) != 0)
        return false;
    path_parse(&path, http_path(req));
    return path.kind == PATH_MANIFEST || path.kind == PATH_TAGS || path.kind == PATH_REFERRERS ||
           (path.kind == PATH_BLOB && m == HTTP_METHOD_GET);
}

/* A name that does not follow the grammar (capitals, a prefix before /v2/) may be one to the registry; and there are
 * registries that still speak the first version of the API. */
static bool names_content(const char *path, enum http_method m)
{
    static const char *const kinds[] = {"/manifests/", "/referrers/", "/tags/", "/v1/images/", "/v1/repositories/"};
    static const char uploads[] = "/blobs/uploads";

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcasestr(path, kinds[i]))
            return true;
    for (const char *p = path; m == HTTP_METHOD_GET && (p = strcasestr(p, "/blobs/")); p++)
        if (strncasecmp(p, uploads, strlen(uploads)) != 0 || !strchr("/", p[strlen(uploads)]))
            return true;
    return false;
}

/* What a server may read in another way than it is read here: escapes, "..", parameters of a component (";a=b", which
 * Java's servers leave out), other slashes, other characters. */
static bool is_odd(const char *path)
{
    for (const char *p = path; *p; p++)
        if (strchr("%;\\", *p) || (unsigned char)*p > '~' || (*p == '/' && (p[1] == '.' || p[1] == '/')))
            return true;
    return false;
}

/* Headers by which some servers and frameworks take another path or method than the request line has. */
static bool is_rewritten(const struct http_request *req)
{
    static const char *const names[] = {"x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method",
                                        "x-method-override"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (http_header(req, names[i]))
            return true;
    return false;
}

bool pass_may_be_pull(const struct http_request *req)
{
    enum http_method m = http_method(req);
    struct path path;

    if (is_rewritten(req))
        return true;
    if (m != HTTP_METHOD_GET && m != HTTP_METHOD_HEAD)
        return false;
    path_parse(&path, http_path(req));
    return path.kind == PATH_MANIFEST || path.kind == PATH_TAGS || path.kind == PATH_REFERRERS ||
           (path.kind == PATH_BLOB && m == HTTP_METHOD_GET) || names_content(http_path(req), m) ||
           is_odd(http_path(req));
}

bool pass_wants_stream(void *arg UNUSED, struct http_request *req)
{
    return http_opened_host(req) || http_is_absolute(req); /* of a forward proxy */
}

const char *pass_method_name(enum pass_method m)
{
    static const char *const names[PASS_METHODS] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"};

    return names[m];
}

enum pass_method pass_method_of(const struct http_request *req)
{
    const char *name = http_method_name(req);

    for (int m = 0; m < PASS_OTHER; m++)
        if (strcmp(name, pass_method_name((enum pass_method)m)) == 0)
            return (enum pass_method)m;
    return PASS_OTHER;
}
