# pictor: `make run` starts it, `make test` tests it, `make help` lists the rest.
BUILD ?= build
CC ?= cc
PKGS = libmicrohttpd libcjson libcurl libpng libjpeg libwebp libwebpmux sqlite3 libcrypto libutf8proc
SETUP_PACKAGES = build-essential pkg-config ca-certificates libmicrohttpd-dev libcjson-dev \
  libcurl4-openssl-dev libpng-dev libjpeg62-turbo-dev libwebp-dev libsqlite3-dev libinih-dev \
  libssl-dev libutf8proc-dev libcmocka-dev

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
OPT ?= -O2 -g
SAN ?=
ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS += -std=c11 $(OPT) -ffp-contract=off -fno-math-errno -fvisibility=hidden -pthread $(WARN) $(SAN)
LDFLAGS += -pthread $(SAN)
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -linih -lm
CPPFLAGS += $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

# A kernel file's name is its instruction set, and only that file gets the flag.
X86_FILES = $(filter %_avx2.c %_avx512.c %_amx.c,$(ENGINE_ALL))
FLAGS_avx2 = -mavx2 -mfma -mf16c -ffp-contract=fast
FLAGS_avx512 = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -ffp-contract=fast
FLAGS_amx = $(FLAGS_avx512) -mavx512bf16 -mamx-tile -mamx-bf16

ENGINE_ALL := $(wildcard engine/*.c engine/base/*.c engine/compute/*.c engine/compute/cpu/*.c \
  engine/io/*.c engine/model/*.c engine/text/*.c engine/sample/*.c engine/pipeline/*.c engine/builtin/*.c)
ifeq ($(ARCH),x86_64)
ENGINE_SRC := $(ENGINE_ALL)
else
ENGINE_SRC := $(filter-out %_avx2.c %_avx512.c %_amx.c,$(ENGINE_ALL))
endif
SERVER_SRC := $(wildcard server/*.c server/*/*.c)
ENGINE_OBJ := $(ENGINE_SRC:%.c=$(BUILD)/%.o)
SERVER_OBJ := $(filter-out $(BUILD)/server/main.o,$(SERVER_SRC:%.c=$(BUILD)/%.o))

# The web page goes into the binary as it is: server/assets.c includes a list of the files of web/.
WEB := $(sort $(shell find web -type f))
$(BUILD)/gen/web_files.h: web $(WEB)
	@mkdir -p $(@D)
	@n=0; for f in $(WEB:web/%=%); do n=$$((n + 1)); echo "WEB_FILE($$n, \"$$f\")"; done > $@
$(BUILD)/server/assets.o: $(BUILD)/gen/web_files.h
$(BUILD)/server/assets.o: CPPFLAGS += -I$(BUILD)/gen

.PHONY: all
all: $(BUILD)/pictor

$(BUILD)/pictor: $(BUILD)/server/main.o $(SERVER_OBJ) $(BUILD)/libpictor.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libpictor.a: $(ENGINE_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%_avx2.o: %_avx2.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(FLAGS_avx2) -MMD -MP -c -o $@ $<
$(BUILD)/%_avx512.o: %_avx512.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(FLAGS_avx512) -MMD -MP -c -o $@ $<
$(BUILD)/%_amx.o: %_amx.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(FLAGS_amx) -MMD -MP -c -o $@ $<
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Files that objects hold by INCBIN, which the compiler does not report.
$(BUILD)/engine/text/tokenizer.o: engine/text/clip_merges.bin

# Unit tests: every tests/unit/X_test.c is a program over libpictor and the server's objects.
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c))
$(BUILD)/tests/%: tests/unit/%.c $(SERVER_OBJ) $(BUILD)/libpictor.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(SERVER_OBJ) $(BUILD)/libpictor.a $(LDLIBS) -lcmocka

.PHONY: unit
unit: $(UNIT)
	@set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

# Fuzzers, by clang: `make fuzz`, then as each tests/fuzz/fuzz_X.c says at its top.
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(SERVER_OBJ) $(BUILD)/libpictor.a
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(SERVER_OBJ) $(BUILD)/libpictor.a $(LDLIBS)

.PHONY: fuzz fuzzers
fuzzers: $(FUZZ)
fuzz:
	$(MAKE) BUILD=build/fuzz CC=clang \
	  SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" fuzzers

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(ENGINE_OBJ:.o=.d) $(SERVER_OBJ:.o=.d) $(UNIT:=.d) $(BUILD)/server/main.d
