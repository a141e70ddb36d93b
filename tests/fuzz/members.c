/* What nodes write into etcd of themselves: the first line is the address of the key, the rest its value. */
#include "cluster/members_private.h"
#include "tests/fuzz/fuzz.h"

#include "base/visible.h"

/* What is read is short, can be displayed, and is read again as it is written; in the table it is found where it was
 * put. */
static void check_member(const struct member *m)
{
    struct members_table table = {0};
    struct member again;
    struct err err = {0};

    MUST(members_is_address(m->address) && strlen(m->address) <= PEER_NAME_MAX && !strpbrk(m->address, "/?#@ \r\n"));
    MUST(text_is_simple(m->zone, strlen(m->zone)) && text_is_simple(m->version, strlen(m->version)));
    MUST(m->since_s >= 0);
    _cleanup_free_ char *text = members_write_node(m);
    MUST(members_read_node(m->address, text, strlen(text), &again, &err));
    MUST(strcmp(again.address, m->address) == 0 && strcmp(again.zone, m->zone) == 0 &&
         strcmp(again.version, m->version) == 0 && again.since_s == m->since_s);
    MUST(members_table_put(&table, m) && members_table_put(&table, &again) && table.count == 1);
    MUST(members_table_has(&table, m->address));
    members_table_drop(&table, m->address);
    MUST(table.count == 0);
    members_table_clear(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    size_t len = end ? (size_t)(end - data) : size;
    _cleanup_free_ char *address = fuzz_text(data, len);
    const char *value = end ? (const char *)end + 1 : "";
    struct member m;
    struct err err = {0};

    if (members_read_node(address, value, end ? size - len - 1 : 0, &m, &err))
        check_member(&m);
    else
        MUST(err.code == ERR_INVALID && err.msg[0]);
    return 0;
}
