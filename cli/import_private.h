/* import_private.h - the files of cli/import_*.c among themselves: import_plan.c (which kind of archive it is, docker's),
 * import_layout.c (OCI image layouts), import_dir.c (skopeo's dir:), import_name.c (what images are to be called). */
#ifndef ENTREPOT_CLI_IMPORT_PRIVATE_H
#define ENTREPOT_CLI_IMPORT_PRIVATE_H

#include "base/ref.h"
#include "cli/cli.h"
#include "cli/import.h"

#include <string.h>

/* A blob of the archive; one that is there already keeps its file. */
struct import_blob *import_add_blob(struct import_plan *p, const struct digest *d, const struct archive_file *file);
void import_add_image(struct import_plan *p, const char *name, const struct digest *d);
/* A document of the archive; NULL with *err. */
json_t *import_parse(const struct archive_files *a, const char *name, struct err *err);

bool import_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);
bool import_dir(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);

/* ---- import_name.c ---- */

/* --name with {tag} or {name} in it, or one that is to be given to several images. */
bool import_is_template(const char *given);
/* What a template makes of a tag and a name ("" none); the name of the archive is there for it too. False with *err: no
 * reference. */
bool import_expand(const struct archive_files *a, const char *given, const char *tag, char out[REF_TEXT_MAX],
                   struct err *err);
/* The archive's own name, fit for a reference: of "/data/My app.tar.gz" it is "my-app". */
const char *import_own_name(const struct archive_files *a, char out[REF_TEXT_MAX]);
/* Whether it says of which repository an image is. What containerd's CRI calls its images, "sha256:<id>", does not, nor
 * does docker's "<none>". */
bool import_is_full(const char *name);

#endif
