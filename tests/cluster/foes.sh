#!/bin/bash
# A peer lies: wrong bytes, lengths, ranges, manifests, versions; errors, redirects, pages, rubbish. No pull fails, no byte is wrong, none
# takes more than a second longer.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
. tests/cluster/foes.sh.inc
foes_meet wrong-bytes one-bit too-short too-long other-range other-total whole other-manifest other-tag no-digest fails has-nothing refuses \
    wants-login too-many redirects redirects-to-itself names-itself \
    names-a-stranger names-the-asker names-the-others is-a-page is-garbage is-old is-older is-newer is-packed
grep -q 'from=redirect' "$W/registry.log" && fail "a peer's redirect was followed"
exit 0
