# The front door. `make help` lists what there is.
PYTHON := /usr/bin/python3
JOBS   := $(shell nproc)
# Tests at once: those of the threads world sleep more than they compute.
WAITING := $(shell expr 2 \* $$(nproc))
# What is built: the preset's name. `make install PRESET=hw` does without SimGrid.
PRESET ?= both
BUILD  := build/$(PRESET)
FERRY  := $(BUILD)/controller/cli/ferry
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PREFIX ?= /usr/local
PAPER  := breakdown multi_vm rwth_memory
OUT    ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help deps build build-suites build-all demo test test-cpp test-optimised test-suites test-python test-sanitizers test-fuzz build-asan build-sanitizers lab bench install format tidy clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

deps: ## install what is missing of .ci/packages.txt (Debian, apt-get)
	@.ci/install-packages $(SUDO)

build: deps ## build the programs with every world, in build/both; PRESET=hw: without the simulated one, in build/hw
	@.ci/quietly build cmake --preset $(PRESET)
	@.ci/quietly build cmake --build $(BUILD) --target programs -j $(JOBS)

build-suites: deps
	@.ci/quietly build cmake --preset both
	@.ci/quietly build cmake --build --preset suites -j $(JOBS)

build-all: deps ## build everything: every test and benchmark too
	@.ci/quietly build cmake --preset $(PRESET)
	@.ci/quietly build cmake --build $(BUILD) -j $(JOBS)

demo: build ## simulate the paper's migration experiments: claims tables and plots
	@mkdir -p $(OUT)
	@for study in $(PAPER); do \
	  rm -rf $(OUT)/$$study; \
	  echo; echo "== $$study: $(FERRY) sweep scenarios/paper/$$study.yaml --out $(OUT)/$$study"; \
	  $(FERRY) sweep scenarios/paper/$$study.yaml --out $(OUT)/$$study --quiet || [ $$? = 1 ] || exit 1; \
	done
	@echo; echo "Tables (claims.csv, cells.csv) and every cell's run folder: $(OUT)/"; \
	echo "Pictures:"; ls $(OUT)/*/plots/*.png | sed 's/^/  /'

# Unit tests run once, under the sanitizers; suites that run whole worlds in the optimised build too.
test: build-suites ## everything that CI runs
	@$(MAKE) --no-print-directory -j 2 test-optimised build-sanitizers
	@$(MAKE) --no-print-directory -j 2 test-sanitizers test-fuzz

test-optimised: build-suites
	@for part in test-suites test-python lab; do $(MAKE) --no-print-directory $$part || exit 1; done

test-cpp: build-all ## every C++ test, optimised, without sanitizers
	ctest --preset $(PRESET) -j $(WAITING) --quiet --output-log build/ctest.log || { .ci/failures build/ctest.log; exit 1; }
	@.ci/counts $(PRESET) build/ctest.log

test-suites: build-suites
	ctest --preset suites -j $(WAITING) --quiet --output-log build/ctest.log || { .ci/failures build/ctest.log; exit 1; }
	@.ci/counts both build/ctest.log

test-python: build-suites ## command line, schema, architecture, analysis
	FERRY_BIN=$(CURDIR)/$(FERRY) FERRY_SCHEMA_DUMP=$(CURDIR)/$(BUILD)/tests/unit/scenario/schema_dump $(PYTHON) -m pytest -q --tb=short -n $(JOBS) --ignore=tests/lab tests

VMS ?= 2
lab: build-suites ## real hosts and guests on this machine (libvirt, QEMU), with VMS=2 guests
	FERRY_BIN=$(CURDIR)/$(FERRY) FERRY_LAB_VMS=$(VMS) $(PYTHON) -m pytest -q --tb=short -rs tests/lab

test-sanitizers: build-sanitizers ## the same C++ tests under address, undefined-behaviour and thread sanitizers
	ctest --preset asan -j $(WAITING) --quiet --output-log build/ctest-asan.log || { .ci/failures build/ctest-asan.log; exit 1; }
	@.ci/counts asan build/ctest-asan.log
	ctest --preset tsan -j $(WAITING) --quiet --output-log build/ctest-tsan.log || { .ci/failures build/ctest-tsan.log; exit 1; }
	@.ci/counts tsan build/ctest-tsan.log

# With what the machine has left: tests of the optimised build wait for processes and guests meanwhile.
build-sanitizers: build-asan deps
	@.ci/quietly tsan cmake --preset tsan
	@.ci/quietly tsan nice -n 10 cmake --build --preset tsan -j $(JOBS)

build-asan: deps
	@.ci/quietly asan cmake --preset asan
	@.ci/quietly asan nice -n 10 cmake --build --preset asan -j $(JOBS)

FUZZ_SECONDS ?= 20
test-fuzz: build-asan ## a short run of every fuzz target
	@.ci/fuzz-smoke build/asan $(FUZZ_SECONDS)

bench: build-all ## ours beside the peers, as ratios; writes bench.tsv
	@.ci/bench $(BUILD)

install: build ## install into $(DESTDIR)$(PREFIX)
	DESTDIR=$(DESTDIR) cmake --install $(BUILD) --prefix $(PREFIX)

format: ## clang-format every source
	git ls-files '*.hpp' '*.cpp' | xargs clang-format -i

tidy: deps ## clang-tidy over everything
	cmake --preset tidy && cmake --build --preset tidy -j $(JOBS)

clean: ## remove build folders
	rm -rf build
