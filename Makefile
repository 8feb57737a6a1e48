# The ways to build, check and run Ranch. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Outside the checkout, so that a fresh clone reuses what was built before.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/ranch/target
# Tests write their data here: durability shows only on a real disk, and /tmp may be memory.
export TMPDIR ?= $(CARGO_TARGET_DIR)/tmp

# Extra arguments for the command a target runs: make up ARGS="--listen 127.0.0.1:8080"
ARGS ?=

# Where `make install` puts things, and what it installs instead of building.
export PREFIX ?= /usr/local
export DESTDIR ?=
export RANCH_BINARY ?=

.PHONY: help up build install test verify fix bench chaos soak campaign bugs deny deps tools

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build ## Build and run a whole ranch on this machine until Ctrl-C.
	@exec $(CARGO_TARGET_DIR)/release/ranch up $(ARGS)

build: deps ## Build the release binaries, installing what is missing.
	cargo build --release --locked --workspace --bins

install: ## Install binary, systemd units, user: make install DESTDIR=/tmp/root PREFIX=/usr
	@scripts/install

test: deps tools verify ## Everything CI runs: verify, all tests, documentation examples.
	@mkdir -p $(TMPDIR)
	scripts/nextest $(ARGS)
	cargo test --workspace --locked --doc --quiet

verify: ## Check formatting, lints and house rules. Writes nothing to the checkout.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo test --workspace --locked --quiet --test tidy

fix: ## Format the code and apply what clippy can fix by itself.
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench: build ## Measure a running ranch (RANCH_URL, RANCH_KEY): latency table.
	$(CARGO_TARGET_DIR)/release/ranch bench $(ARGS)

# What `make chaos` runs, about a minute each.
SCENARIOS = kill-leader pause-leader partition-leader bridge power-cut-all full-disk bit-rot-minority \
    stale-backup rolling-restart rolling-upgrade cert-rotation grow-shrink replace-dead \
    kill-while-moving mixed

chaos: build tools ## Break a ranch on purpose in fifteen ways, a minute each, and judge its answers.
	@mkdir -p $(TMPDIR)
	@failed=; for scenario in $(SCENARIOS); do \
	    $(CARGO_TARGET_DIR)/release/ranch-chaos run $$scenario --minutes 1 \
	        --report chaos-report/$$scenario $(ARGS) || failed="$$failed $$scenario"; \
	done; [ -z "$$failed" ] || { echo "make chaos: failed:$$failed"; exit 1; }

soak: build tools ## Faults of every kind for as long as asked: make soak ARGS="--minutes 60".
	@mkdir -p $(TMPDIR)
	$(CARGO_TARGET_DIR)/release/ranch-chaos run mixed --report chaos-report/soak $(ARGS)

campaign: build tools ## Every scenario with many seeds, a table in the end: make campaign ARGS="--seeds 20".
	@mkdir -p $(TMPDIR)
	@scripts/campaign $(ARGS)

bugs: deps tools ## Put real bugs back, one by one, and see each caught: make bugs ARGS="03 07".
	@mkdir -p $(TMPDIR)
	cargo run --locked --quiet --package ranch-chaos -- bugs --scratch $(CARGO_TARGET_DIR)/bugs $(ARGS)

deny: ## Check licences, advisories and banned crates (needs cargo-deny).
	cargo deny check

deps:
	@scripts/deps

tools:
	@scripts/deps chaos
