/* pages.h - the pages of the admin API. Each fills in its job's answer; on a worker. */
#ifndef ENTREPOT_PROXY_ADMIN_PAGES_H
#define ENTREPOT_PROXY_ADMIN_PAGES_H

#include "proxy/admin/job.h"

void admin_status(struct admin_job *job);
void admin_peers(struct admin_job *job);
/* The nodes of the cluster, `most` of them, and the bucket; each null if there are none. A new reference. */
json_t *admin_cluster(const struct admin *a, int most);
/* Texts, for reports of bugs: metrics, the latest lines of the log, what everything waits for. */
void admin_metrics(struct admin_job *job);
void admin_log(struct admin_job *job);
void admin_dump(struct admin_job *job);
void admin_images(struct admin_job *job);
/* The pulls that are over, as lines: on the loop of the connection, for as long as the client wants. */
void admin_pulls_list(struct admin_job *job);
void admin_pulls_now(struct admin_job *job); /* and downloads, in flight */
/* Downloads: of each the image and client that it is for. A new reference. */
json_t *admin_transfers(struct admin *a);
void admin_inspect(struct admin_job *job); /* of the reference in the path */
void admin_verify(struct admin_job *job);
void admin_rm(struct admin_job *job);
void admin_pin(struct admin_job *job);
void admin_unpin(struct admin_job *job);
void admin_gc(struct admin_job *job);
void admin_offline(struct admin_job *job);
void admin_config(struct admin_job *job);
void admin_reload(struct admin_job *job);
void admin_pull(struct admin_job *job);
void admin_export(struct admin_job *job);
void admin_blob(struct admin_job *job); /* the bytes of the digest in the path */
/* Of a blob that is being imported: how many bytes are here; adds bytes; verifies and stores it once all are here. */
void admin_import_state(struct admin_job *job);
void admin_import_bytes(struct admin_job *job);
void admin_import_blob(struct admin_job *job);
void admin_import_batch(struct admin_job *job); /* several small ones at once */
void admin_import(struct admin_job *job);       /* the images, once their blobs are here */

#endif
