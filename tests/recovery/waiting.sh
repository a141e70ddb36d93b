#!/bin/bash
# The daemon is told twice to stop while requests wait for everything there is to wait for: an answer, a body, a token, credentials, the end
# of a limit, the disk. It ends at once, without an error, and under a sanitizer without a report: nobody is left who would have freed what
# they were waiting with.
. "$(dirname "$0")/../lib.sh"
need python3
mkdir "$W/bin"
printf '#!/bin/sh\necho >"%s/helper-asked"\nexec sleep 30\n' "$W" >"$W/bin/docker-credential-hangs"
chmod +x "$W/bin/docker-credential-hangs"
export PATH="$W/bin:$PATH"
python3 tests/recovery/waiting.py "$ENTREPOT" "$TOOLS" "$W" "$(free_port)" || fail "see above"
