# Every check of the project as a target of its own. CI runs the same targets.

CARGO ?= cargo

target := $(abspath $(or $(CARGO_TARGET_DIR),target))
peers := $(target)/peers/bin

# More arguments for `cargo test`, such as TEST_ARGS="--test grpc -- --nocapture".
TEST_ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Tests whose peer is missing print `SKIPPED: ` and the reason, or fail with HEADCOUNT_REQUIRE_PEERS=1.
.PHONY: test
test: ## Run the tests, with real peers (TEST_ARGS=... for more arguments)
	@scripts/peers.sh test || { [ "$$HEADCOUNT_REQUIRE_PEERS" != 1 ] && echo "tests that need them are skipped"; }
	HEADCOUNT_PEERS=$(peers) $(CARGO) test --workspace --locked $(TEST_ARGS)

# Not part of `make test`, because kube-apiserver takes half an hour to build, once. CI runs this where it
# has been built before.
.PHONY: test-apiserver
test-apiserver: ## Run the manifests with a real kube-apiserver (built the first time)
	@scripts/peers.sh apiserver
	HEADCOUNT_REQUIRE_PEERS=1 HEADCOUNT_PEERS=$(peers) $(CARGO) test --locked --test cluster -- --ignored

# A separate build, in which shuttle's locks and atomics replace the real ones.
.PHONY: races
races: ## Model-check the registry's races in thousands of interleavings (shuttle)
	RUSTFLAGS="--cfg shuttle" $(CARGO) test --locked --lib --target-dir $(target)/shuttle races

.PHONY: lint
lint: fmt buf clippy doc deny ## Run all checks that are not tests

.PHONY: fmt
fmt: ## Check the formatting (`cargo fmt` fixes it)
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path peers/informer/Cargo.toml --check

.PHONY: buf
buf: ## Lint the protos
	@scripts/peers.sh buf
	$(peers)/buf lint

.PHONY: clippy
clippy: ## Lint the code; warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: doc
doc: ## Build the documentation with private items; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items

# Advisories only warn: the database cannot be fetched everywhere, and a new advisory is not caused by the
# change that is checked. An unnecessary skip in deny.toml is an error.
.PHONY: deny
deny: ## Check dependencies: licences, sources, duplicates (advisories only warn)
	@scripts/peers.sh cargo-deny
	$(peers)/cargo-deny --locked check -D unmatched-skip -D unnecessary-skip bans licenses sources
	@$(peers)/cargo-deny --locked check advisories || \
		echo "WARNING: advisories are not clean or could not be looked up; see above"

.PHONY: bench
bench: ## Run the benchmarks; write their tables to BENCHMARKS.md and their charts to docs/bench
	$(CARGO) bench --workspace --locked -- --write $(CURDIR)/BENCHMARKS.md --charts $(CURDIR)/docs/bench

.PHONY: fuzz
fuzz: ## Fuzz each parser of untrusted input (for FUZZ_SECONDS=20 each)
	scripts/fuzz.sh

# Seeds of the simulation, from 0.
SEEDS ?= 20000

.PHONY: soak
soak: ## Run the long versions of the fault tests, for more than an hour (SEEDS=20000)
	HEADCOUNT_SIM_SEEDS=$(SEEDS) $(CARGO) test --release --locked --test sim every_seed -- --nocapture
	HEADCOUNT_PROPERTY_CASES=10000 $(CARGO) test --release --locked --test registry
	HEADCOUNT_STORE_CRASHES=100000 $(CARGO) test --release --locked --lib store::embedded
	HEADCOUNT_STORE_CASES=2000 $(CARGO) test --release --locked --test store
	HEADCOUNT_ABUSE_DEAF_WATCHERS=1000 HEADCOUNT_ABUSE_ROUNDS=200 $(CARGO) test --release --locked --test abuse -- --show-output
	HEADCOUNT_FAULT_CONNECTIONS=10000 HEADCOUNT_FAULT_ROUNDS=20 HEADCOUNT_FAULT_KILLS=30 HEADCOUNT_FAULT_CRASHES=60 HEADCOUNT_FAULT_LINKS=10 HEADCOUNT_FAULT_OUTAGES=3,10,30,60 $(CARGO) test --release --locked --test faults -- --show-output
	HEADCOUNT_PEERS=$(peers) $(CARGO) test --release --locked --test peers full_load -- --ignored --show-output

# Docker, or a program with the same command line.
DOCKER ?= docker
IMAGE ?= headcount:$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: image
image: ## Build the container image (IMAGE=headcount:... to name it)
	$(DOCKER) build --tag $(IMAGE) .

.PHONY: demo
demo: ## Serve with a few simulated proxies
	$(CARGO) run --release -- serve --demo

.PHONY: clean
clean: ## Remove all build output and the peers
	$(CARGO) clean
