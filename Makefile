# pictor: `make run` starts it, `make test` tests it, `make help` lists the rest.
.DEFAULT_GOAL := all
BUILD ?= build
CC ?= cc
PKGS = libmicrohttpd libcjson libcurl libpng libjpeg libwebp libwebpmux sqlite3 libcrypto libutf8proc zlib
# `make V=1` shows whole commands.
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)  $@')

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
OPT ?= -O2 -g
SAN ?=
ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS += -std=c11 $(OPT) -ffp-contract=off -fno-math-errno -fvisibility=hidden -pthread $(WARN) $(SAN)
LDFLAGS += -pthread $(SAN)
# Apart, because Debian has its headers for one architecture at a time.
ifndef PQ_LIBS
PQ_CFLAGS := $(shell pkg-config --cflags libpq 2>/dev/null)
PQ_LIBS := $(shell pkg-config --libs libpq 2>/dev/null)
endif
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) $(PQ_LIBS) -linih -lm
CPPFLAGS += $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(PQ_CFLAGS)

# A kernel file's name is its instruction set, and only that file gets the flag: kernels_X.c is
# compiled with FLAGS_X, on the architectures that have X.
LEVELS_x86_64 = avx2 avx512 avx512bf16 amx
FLAGS_avx2 = -mavx2 -mfma -mf16c -ffp-contract=fast
FLAGS_avx512 = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -ffp-contract=fast
FLAGS_avx512bf16 = $(FLAGS_avx512) -mavx512bf16
FLAGS_amx = $(FLAGS_avx512bf16) -mamx-tile -mamx-bf16 -mamx-int8
LEVELS_aarch64 = neon
# GCC would load a block's activations so early that sums are left without registers.
FLAGS_neon = -ffp-contract=fast -fno-schedule-insns

# Adding a LoRA to a model is one loop over a billion weights, which -O2 would not vectorise.
$(BUILD)/engine/model/lora_delta.o: CFLAGS += -O3

LEVELS_NOT_HERE = $(filter-out $(LEVELS_$(ARCH)),$(LEVELS_x86_64) $(LEVELS_aarch64))
ENGINE_SRC := $(filter-out $(LEVELS_NOT_HERE:%=engine/compute/cpu/kernels_%.c),$(wildcard \
  engine/*.c engine/base/*.c engine/compute/*.c engine/compute/cpu/*.c \
  engine/io/*.c engine/family/*.c engine/model/*.c engine/text/*.c engine/sample/*.c engine/pipeline/*.c engine/builtin/*.c))
SERVER_SRC := $(wildcard server/*.c server/*/*.c server/*/*/*.c)
ENGINE_OBJ := $(ENGINE_SRC:%.c=$(BUILD)/%.o)
SERVER_OBJ := $(filter-out $(BUILD)/server/main.o,$(SERVER_SRC:%.c=$(BUILD)/%.o))

# The web page goes into the binary as it is, and compressed: server/api/assets.c includes a list of the
# files of web/. In HTML, addresses get a part that changes with any of the files.
WEB := $(sort $(shell find web -type f))
$(BUILD)/gen/server/web_files.h: web $(WEB)
	@mkdir -p $(@D) $(BUILD)/gen/web
	@release=$$(cat $(WEB) | sha256sum | cut -c1-12); n=0; \
	echo "#define WEB_RELEASE \"$$release\"" > $@.new; echo "#ifdef WEB_FILE" >> $@.new; \
	for f in $(WEB:web/%=%); do n=$$((n + 1)); mkdir -p $$(dirname $(BUILD)/gen/web/$$f); \
	    case $$f in *.html) sed -E "s,(href|src|data-[a-z]+)=\"web/,&@$$release/,g" web/$$f ;; *) cat web/$$f ;; esac \
	        > $(BUILD)/gen/web/$$f; \
	    gzip -9nc $(BUILD)/gen/web/$$f > $(BUILD)/gen/web/$$f.gz; \
	    echo "WEB_FILE($$n, \"$$f\")" >> $@.new; done; echo "#endif" >> $@.new; mv $@.new $@
$(BUILD)/server/api/assets.o: $(BUILD)/gen/server/web_files.h
$(BUILD)/server/api/assets.o: CPPFLAGS += -I$(BUILD)/gen -DWEB_FOLDER='"$(BUILD)/gen/web/"'

.PHONY: all
all: $(BUILD)/pictor ## build the program (default)

.PHONY: run
run: ## install what is missing, build, and serve on http://127.0.0.1:7860
	@tests/setup.sh run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@$(BUILD)/pictor serve --config config/pictor.ini

.PHONY: test
test: ## install what is missing, build, and run every test that fits into minutes
	@tests/setup.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) all tests
	@tests/run.sh $(BUILD)

.PHONY: test-long long
test-long: ## what takes longer: sanitizers, fuzzing, a thousand kills, 100,000 jobs, a soak
	@$(MAKE) --no-print-directory -k long asan tsan fuzz
long:
	@tests/setup.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@mkdir -p $(BUILD)/tests && tests/run.sh $(BUILD) long

$(BUILD)/pictor: $(BUILD)/server/main.o $(SERVER_OBJ) $(BUILD)/libpictor.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libpictor.a: $(ENGINE_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(FLAGS_$(@F:kernels_%.o=%)) -MMD -MP -c -o $@ $<

# What is embedded with .incbin is not seen by -MMD.
$(BUILD)/server/store/sqlite/sqlite.o: $(wildcard migrations/sqlite/*.sql)
$(BUILD)/server/store/pg/pg.o: $(wildcard migrations/postgresql/*.sql)
$(BUILD)/engine/builtin/builtin.o: $(wildcard engine/builtin/*.safetensors)
$(BUILD)/engine/builtin/builtin.o: CPPFLAGS += \
  -DBUILTIN_SHA256='"$(firstword $(shell sha256sum engine/builtin/pictor-mini.safetensors))"'
$(BUILD)/engine/text/tokenizer.o: engine/text/clip_merges.bin
$(BUILD)/engine/text/qwen_tokenizer.o: engine/text/qwen_merges.bin

# Unit tests: every tests/unit/X_test.c is a program over libpictor and the server's objects. The
# built-in weights (48 MB) are linked once, into a library that all of these programs share.
$(BUILD)/engine/builtin/builtin.o: CFLAGS += -fPIC -fvisibility=default
$(BUILD)/tests/libbuiltin.so: $(BUILD)/engine/builtin/builtin.o
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -shared -o $@ $<

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c))
$(BUILD)/tests/%_test: tests/unit/%_test.c $(SERVER_OBJ) $(BUILD)/libpictor.a $(BUILD)/tests/libbuiltin.so
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(SERVER_OBJ) $(BUILD)/tests/libbuiltin.so \
	  $(BUILD)/libpictor.a $(LDLIBS) -lcmocka -Wl,-rpath,'$$ORIGIN'

# The program with a door in its workers, through which tests/chaos makes system calls there.
DOOR = worker worker_codec
$(BUILD)/tests/door/%.o: server/worker/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) -DPICTOR_TEST_DOOR $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/tests/door/pictor: $(DOOR:%=$(BUILD)/tests/door/%.o) $(BUILD)/server/main.o \
  $(filter-out $(DOOR:%=$(BUILD)/server/worker/%.o),$(SERVER_OBJ)) $(BUILD)/libpictor.a
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: tests unit
tests: $(UNIT) $(BUILD)/tests/door/pictor
unit: tests ## unit tests alone
	@tests/run.sh $(BUILD) unit

# The sanitizers' builds live beside the normal one and run the same tests. The operations' tasks
# share nothing, so ThreadSanitizer, which makes them 30 times slower, leaves them out.
CPU_SAN = $(SAN)
$(BUILD)/engine/compute/cpu/%.o: override SAN := $(CPU_SAN)
ASAN = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TSAN = -fsanitize=thread
.PHONY: asan tsan
asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@tests/setup.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/asan SAN="$(ASAN)" OPT="-O1 -g" all tests
	@UBSAN_OPTIONS=print_stacktrace=1 tests/run.sh build/asan unit levels api
tsan: ## the server's tests under ThreadSanitizer
	@tests/setup.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/tsan SAN="$(TSAN)" CPU_SAN= \
	  OPT="-O1 -g" all tests
	@tests/run.sh build/tsan unit api

# Debian's cross compiler and its libraries for arm64, beside this machine's own.
.PHONY: arm64
arm64: ## cross-compile for AArch64 and run the unit tests in an emulator
	@tests/setup.sh arm64
	@PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig \
	  $(MAKE) --no-print-directory -j$$(nproc) BUILD=build/arm64 CC=aarch64-linux-gnu-gcc \
	  AR=aarch64-linux-gnu-ar PQ_CFLAGS=-I/usr/include/postgresql \
	  PQ_LIBS=-l:libpq.so.5 all tests
	@tests/run.sh build/arm64 arm64

# make fuzz TARGET=safetensors SECONDS=600; what a target fails on stays in build/fuzz.
FUZZ = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SECONDS ?= 60
FUZZ_FLAGS = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
.PHONY: fuzz
fuzz: ## each fuzz target for SECONDS=60 (TARGET=name for one)
	@tests/setup.sh fuzz
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/fuzz CC=clang SAN="$(FUZZ_FLAGS)" OPT= \
	  $(or $(TARGET:%=build/fuzz/fuzz/%),$(FUZZ:%=build/fuzz/fuzz/%))
	@bad=; for t in $(or $(TARGET),$(FUZZ)); do \
	  mkdir -p build/fuzz/corpus/$$t; echo "== $$t"; \
	  build/fuzz/fuzz/$$t -max_total_time=$(SECONDS) -rss_limit_mb=4096 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/$$t- build/fuzz/corpus/$$t tests/fuzz/corpus/$$t \
	    >build/fuzz/$$t.log 2>&1 || bad="$$bad $$t"; \
	  tail -n 12 build/fuzz/$$t.log; done; \
	  [ -z "$$bad" ] || { echo "failed:$$bad"; exit 1; }
$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(SERVER_OBJ) $(BUILD)/libpictor.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(SERVER_OBJ) $(BUILD)/libpictor.a $(LDLIBS)

.PHONY: fullsize
fullsize: $(BUILD)/libpictor.a ## the engine against diffusers at SD 1.5's size: DIR=folder of fullsize.py
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $(BUILD)/fullsize_check tests/golden/fullsize_check.c \
	  $(BUILD)/libpictor.a $(LDLIBS)
	$(BUILD)/fullsize_check $(DIR)

.PHONY: bench
bench: $(BUILD)/pictor ## this machine's figures as a table; beside oneDNN's, if libdnnl-dev is there
	$(BUILD)/pictor bench
	@if echo '#include <dnnl.h>' | $(CC) -E - >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory $(BUILD)/bench/onednn && $(BUILD)/bench/onednn; \
	else echo "no dnnl.h (package libdnnl-dev): nothing to compare with"; fi
.PHONY: claims
claims: $(BUILD)/bench/claims ## 1,000 painters that sleep, on an empty DATABASE=postgresql://...
	$(BUILD)/bench/claims $(DATABASE) 8 1000 10000 200 1000
$(BUILD)/bench/claims: tests/bench/claims.c $(SERVER_OBJ) $(BUILD)/libpictor.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(SERVER_OBJ) $(BUILD)/libpictor.a $(LDLIBS)
$(BUILD)/bench/%: tests/bench/%.c $(BUILD)/libpictor.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libpictor.a $(LDLIBS) -ldnnl

.PHONY: lint fmt
lint: all ## layering, exported names, file sizes, columns, what only `make fuzz` compiles
	@$(CC) $(CPPFLAGS) $(CFLAGS) -fsyntax-only $(wildcard tests/fuzz/*.c tests/golden/*.c)
	@tests/lint.sh $(BUILD)
fmt: ## clang-format over the C sources
	@git ls-files '*.c' '*.h' | grep -v vectors.h | xargs clang-format -i

PREFIX ?= /usr/local
.PHONY: install
install: all ## install to PREFIX=/usr/local
	install -D -m 755 $(BUILD)/pictor $(DESTDIR)$(PREFIX)/bin/pictor
	install -D -m 644 config/pictor.ini $(DESTDIR)/etc/pictor/pictor.ini

# Without the paths of this checkout, so that any checkout gives the same bytes.
PACKAGES = $(BUILD)/packages
.PHONY: deb dist
deb: ## a Debian package, in build/packages; the same sources give the same bytes
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/deb OPT="-O2 -ffile-prefix-map=$(CURDIR)=." all
	@config/debian/build.sh $(BUILD)/deb/pictor $(PACKAGES)
	@if command -v lintian >/dev/null; then lintian --fail-on error,warning $(PACKAGES)/pictor_*.deb; \
	else echo "no lintian (package lintian): the package was not looked over"; fi
dist: ## what HEAD has as a tarball, with checksums and an SPDX bill of materials
	@config/release.sh $(PACKAGES)

.PHONY: clean help
clean: ## remove the build folder
	rm -rf $(BUILD)
help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

-include $(DOOR:%=$(BUILD)/tests/door/%.d) $(ENGINE_OBJ:.o=.d) $(SERVER_OBJ:.o=.d) $(UNIT:=.d) $(BUILD)/server/main.d
