/* login_key.h - the key that login.h seals tokens with. It outlives the daemon: an engine in the middle of a pull goes
 * on with its token after a restart (docker's image store does not log in again).
 *
 * It is <cache>/login.key: 32 bytes, owned by the daemon's user, mode 0600. With the key one can read the names and
 * passwords in tokens that were sealed with it, and make tokens for known logins. If the file is missing or not valid,
 * a new key replaces it, and older tokens are anonymous.
 *
 * At the start, with the cache's lock held.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_LOGIN_KEY_H
#define ENTREPOT_PROXY_REGISTRY_LOGIN_KEY_H

enum { LOGIN_KEY_BYTES = 32 };

#define LOGIN_KEY_FILE "login.key"

/* The key of this folder, made if there is none. An error is logged; the key then ends with the daemon. */
void login_key_read_or_make(const char *folder, unsigned char key[LOGIN_KEY_BYTES]);
/* A new key, which is not stored. */
void login_key_make(unsigned char key[LOGIN_KEY_BYTES]);

#endif
