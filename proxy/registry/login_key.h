/* login_key.h - the key that login.h seals with, which outlives the daemon: an engine in the middle of a pull goes on
 * with its token after a restart (docker's image store does not log in again).
 *
 * It is <cache>/login.key: 32 bytes, of the daemon's user, closed to all others. Whoever has it can read the names and
 * passwords in tokens that it has sealed, if it has those as well, and make tokens for logins that it knows. Without
 * the file, or with one that is not as it has to be, there is a new key, and tokens of before stand for nobody.
 *
 * At the start, by who has the cache's lock.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_LOGIN_KEY_H
#define ENTREPOT_PROXY_REGISTRY_LOGIN_KEY_H

enum { LOGIN_KEY_BYTES = 32 };

#define LOGIN_KEY_FILE "login.key"

/* The folder's; a new one, if it has none. What goes wrong is logged; then it lasts as long as the daemon. */
void login_key_settle(const char *folder, unsigned char key[LOGIN_KEY_BYTES]);
/* A new one, which is kept nowhere. */
void login_key_make(unsigned char key[LOGIN_KEY_BYTES]);

#endif
