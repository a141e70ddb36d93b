/* Signature Version 4: figures that AWS has published, and where objects are. */
#include "tests/unit/unit.h"

#include "cluster/s3.h"

/* ---- signatures ---- */

#define DOC_HOST    "host: examplebucket.s3.amazonaws.com"
#define DOC_DATE    "x-amz-date: 20130524T000000Z"
#define DOC_EMPTY   "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DOC_WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define DOC_CONTENT "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

/* "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", examples (Amazon S3
 * API Reference); get-vanilla, get-vanilla-query-order-key-case, get-header-value-trim and post-vanilla of the AWS
 * Signature Version 4 Test Suite. */
static void published_signatures(void **state UNUSED)
{
    static const struct {
        const char *method, *path, *query, *lines[6], *payload;
        bool of_suite;
        const char *signature;
    } cases[] = {
        {"GET",
         "/test.txt",
         "",
         {DOC_HOST, "range: bytes=0-9", DOC_EMPTY, DOC_DATE},
         S3_EMPTY,
         false,
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT",
         "/test%24file.text",
         "",
         {"date: Fri, 24 May 2013 00:00:00 GMT", DOC_HOST, DOC_CONTENT, DOC_DATE,
          "x-amz-storage-class: REDUCED_REDUNDANCY"},
         DOC_WELCOME,
         false,
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET",
         "/",
         "lifecycle=",
         {DOC_HOST, DOC_EMPTY, DOC_DATE},
         S3_EMPTY,
         false,
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET",
         "/",
         "max-keys=2&prefix=J",
         {DOC_HOST, DOC_EMPTY, DOC_DATE},
         S3_EMPTY,
         false,
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
        {"GET",
         "/",
         "",
         {"host:example.amazonaws.com", "x-amz-date:20150830T123600Z"},
         S3_EMPTY,
         true,
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"GET",
         "/",
         "Param1=value1&Param2=value2",
         {"host:example.amazonaws.com", "x-amz-date:20150830T123600Z"},
         S3_EMPTY,
         true,
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"GET",
         "/",
         "",
         {"host:example.amazonaws.com", "my-header1: value1", "my-header2: \"a   b   c\"  ",
          "x-amz-date:20150830T123600Z"},
         S3_EMPTY,
         true,
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        {"POST",
         "/",
         "",
         {"host:example.amazonaws.com", "x-amz-date:20150830T123600Z"},
         S3_EMPTY,
         true,
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool suite = cases[i].of_suite;
        const struct s3_signing s = {.method = cases[i].method,
                                     .path = cases[i].path,
                                     .query = cases[i].query,
                                     .lines = cases[i].lines,
                                     .payload = cases[i].payload,
                                     .region = "us-east-1",
                                     .service = suite ? "service" : "s3",
                                     .id = suite ? "AKIDEXAMPLE" : "AKIAIOSFODNN7EXAMPLE",
                                     .secret = suite ? "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
                                                     : "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                     .time = suite ? "20150830T123600Z" : "20130524T000000Z"};
        _cleanup_free_ char *value = s3_authorization(&s);
        const char *at = strstr(value, ", Signature=");
        assert_non_null(at);
        if (strcmp(at + 12, cases[i].signature) != 0)
            fail_msg("case %zu: %s", i, value);
    }
}

static void a_whole_header(void **state UNUSED)
{
    static const char *const lines[] = {DOC_HOST, "range: bytes=0-9", DOC_EMPTY, DOC_DATE, NULL};
    char time[S3_TIME_MAX];
    const struct s3_signing s = {.method = "GET",
                                 .path = "/test.txt",
                                 .query = "",
                                 .lines = lines,
                                 .payload = S3_EMPTY,
                                 .region = "us-east-1",
                                 .service = "s3",
                                 .id = "AKIAIOSFODNN7EXAMPLE",
                                 .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                 .time = s3_time(1369353600, time)};
    _cleanup_free_ char *value = s3_authorization(&s);

    assert_string_equal(time, "20130524T000000Z");
    assert_string_equal(value, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                               "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                               "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

/* ---- places ---- */

static void places(void **state UNUSED)
{
    static const struct {
        const char *url, *bucket, *prefix, *origin, *authority, *base; /* origin NULL: it is refused */
    } cases[] = {
        {"https://s3.example.com", "images", NULL, "https://s3.example.com", "s3.example.com", "/images/"},
        {"https://S3.example.com:443/", "images", "entrepot/", "https://S3.example.com:443", "s3.example.com",
         "/images/entrepot/"},
        {"http://[::1]:9000", "a.b-c", "x y/+", "http://[::1]:9000", "[::1]:9000", "/a.b-c/x%20y/%2B"},
        {"https://host/s3//", "b", "", "https://host", "host", "/s3/b/"},
        {"ftp://host", "b", "", NULL, NULL, NULL},
        {"https://", "b", "", NULL, NULL, NULL},
        {"https://user:secret@host", "b", "", NULL, NULL, NULL},
        {"https://host/?x=1", "b", "", NULL, NULL, NULL},
        {"https://host", "a/b", "", NULL, NULL, NULL},
        {"https://host", "..", "", NULL, NULL, NULL},
        {"https://host", NULL, "", NULL, NULL, NULL},
        {"https://host", "b", "/x", NULL, NULL, NULL},
        {"https://host", "b", "x\r\ny", NULL, NULL, NULL},
        {NULL, "b", "", NULL, NULL, NULL},
    };
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct s3_place p;
        bool ok = s3_place_set(&p, cases[i].url, cases[i].bucket, cases[i].prefix, NULL, &err);
        if (ok != (cases[i].origin != NULL))
            fail_msg("%s: %d", cases[i].url, ok);
        if (ok) {
            assert_string_equal(p.origin, cases[i].origin);
            assert_string_equal(p.authority, cases[i].authority);
            assert_string_equal(p.base, cases[i].base);
            assert_string_equal(p.region, "us-east-1");
        } else {
            assert_int_equal(err.code, ERR_INVALID);
            assert_null(strstr(err.msg, "secret"));
        }
        s3_place_clear(&p);
    }
}

static void paths_of_blobs(void **state UNUSED)
{
    struct s3_place p;
    struct digest d;

    digest_of(DIGEST_SHA256, "", 0, &d);
    assert_true(s3_place_set(&p, "https://host", "b", "p/", "eu-1", NULL));
    _cleanup_free_ char *path = s3_blob_path(&p, &d);
    assert_string_equal(path, "/b/p/blobs/sha256/e3/" S3_EMPTY);
    assert_string_equal(p.region, "eu-1");
    s3_place_clear(&p);
    assert_false(s3_place_set(&p, "https://host", "b", "p/", "eu/1", NULL));
}

/* ---- documents ---- */

static void texts_of_documents(void **state UNUSED)
{
    static const struct {
        const char *doc, *is;
    } cases[] = {
        {"<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey"},
        {"<Code>a&amp;b&lt;&quot;</Code>", "a&b<\""},
        {"<Code></Code>", NULL},
        {"<Code>cut", NULL},
        {"<Code>a&bogus;</Code>", NULL},
        {"<Code>a\nb</Code>", NULL},
        {"<Code>\xc3\xa4</Code>", NULL},
        {"<Code>12345678901234567890</Code>", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    char out[16];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool ok = s3_xml_text(cases[i].doc, "Code", out, sizeof(out));
        if (ok != (cases[i].is != NULL))
            fail_msg("%s: %s", cases[i].doc, out);
        assert_string_equal(out, ok ? cases[i].is : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_signatures), cmocka_unit_test(a_whole_header),     cmocka_unit_test(places),
        cmocka_unit_test(paths_of_blobs),       cmocka_unit_test(texts_of_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
