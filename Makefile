# entrepot - build, test, install. `make help` lists the targets.

VERSION  := 0.1.0
B        ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
WERROR   ?= -Werror

ROOMS    := base cache upstream gc proxy
PKGS     := libevent libevent_pthreads libcurl libcrypto lmdb jansson libcyaml libsystemd
LLHTTP   ?= /usr/share/llhttp
SANITIZE ?=

CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion $(WERROR)
DEFINES  := -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1 -DENTREPOT_VERSION='"$(VERSION)"'
ALL_CFLAGS  = -std=gnu17 $(CFLAGS) $(WARNINGS) $(DEFINES) $(SANITIZE) -pthread -I. -isystem /usr/share/include/llhttp
ALL_LDFLAGS = $(LDFLAGS) $(SANITIZE) -pthread
LDLIBS   := -levent_core -levent_extra -levent_pthreads -lcurl -lcrypto -llmdb -ljansson -lcyaml -lsystemd

LIB_SRC  := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c))
CLI_SRC  := $(wildcard cli/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
LLHTTP_OBJ := $(B)/llhttp/api.o $(B)/llhttp/http.o $(B)/llhttp/llhttp.o

all: $(B)/entrepot

$(B)/entrepot: $(CLI_OBJ) $(B)/libentrepot.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libentrepot.a: $(LIB_OBJ) $(LLHTTP_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(SANITIZE) -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp -c -o $@ $<

clean:
	rm -rf $(B)

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d)

.PHONY: all clean
