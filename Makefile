# Every check of the project, each runnable alone. CI runs the same ones.

CARGO ?= cargo

target := $(abspath $(or $(CARGO_TARGET_DIR),target))
peers := $(target)/peers/bin

# More words for `cargo test`, such as TEST_ARGS="--test grpc -- --nocapture".
TEST_ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Tests that miss a peer print `SKIPPED: ` and why, unless HEADCOUNT_REQUIRE_PEERS=1.
.PHONY: test
test: ## Run the tests, against real peers (TEST_ARGS=... for more arguments)
	@scripts/peers.sh test || { [ "$$HEADCOUNT_REQUIRE_PEERS" != 1 ] && echo "tests that need them are skipped"; }
	HEADCOUNT_PEERS=$(peers) $(CARGO) test --workspace --locked $(TEST_ARGS)

# The programs take half an hour to build, once, so `make test` leaves this out;
# CI runs it where they have been built already.
.PHONY: test-apiserver
test-apiserver: ## Run the manifests with a real kube-apiserver, which is built at first
	@scripts/peers.sh apiserver
	HEADCOUNT_REQUIRE_PEERS=1 HEADCOUNT_PEERS=$(peers) $(CARGO) test --locked --test cluster -- --ignored

# A model checker's locks in the place of ours: a build of its own.
.PHONY: races
races: ## Play the small races of the registry in thousands of orders
	RUSTFLAGS="--cfg shuttle" $(CARGO) test --locked --lib --target-dir $(target)/shuttle races

.PHONY: lint
lint: fmt buf clippy doc deny ## Run all checks that are not tests

.PHONY: fmt
fmt: ## Check the formatting (`cargo fmt` mends it)
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
doc: ## Build the documentation, private items too; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items

# The advisory database cannot be fetched everywhere, and a new advisory is not
# the fault of the change at hand: it only warns. A skip in deny.toml that is
# not needed any more is an error.
.PHONY: deny
deny: ## Check dependencies: licences, sources, duplicates (advisories only warn)
	@scripts/peers.sh cargo-deny
	$(peers)/cargo-deny --locked check -D unmatched-skip -D unnecessary-skip bans licenses sources
	@$(peers)/cargo-deny --locked check advisories || \
		echo "WARNING: advisories are not clean or could not be looked up; see above"

.PHONY: bench
bench: ## Run the benchmarks, and write their tables into BENCHMARKS.md and their charts into docs/bench
	$(CARGO) bench --workspace --locked -- --write $(CURDIR)/BENCHMARKS.md --charts $(CURDIR)/docs/bench

.PHONY: fuzz
fuzz: ## Fuzz each door to strangers for a while (FUZZ_SECONDS=20 each)
	scripts/fuzz.sh

# One line a part; each ends by itself. The simulation is that of all seeds from 0.
SEEDS ?= 20000

.PHONY: soak
soak: ## Run the long versions of the tests of faults: an hour and more (SEEDS=20000)
	HEADCOUNT_SIM_SEEDS=$(SEEDS) $(CARGO) test --release --locked --test sim every_seed -- --nocapture
	HEADCOUNT_ABUSE_DEAF_WATCHERS=1000 HEADCOUNT_ABUSE_ROUNDS=200 $(CARGO) test --release --locked --test abuse -- --show-output
	HEADCOUNT_FAULT_CONNECTIONS=10000 HEADCOUNT_FAULT_ROUNDS=20 HEADCOUNT_FAULT_KILLS=30 HEADCOUNT_FAULT_LINKS=10 $(CARGO) test --release --locked --test faults -- --show-output

# Needs a Docker engine, or what understands its command line.
DOCKER ?= docker
IMAGE ?= headcount:$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: image
image: ## Build the container image (IMAGE=headcount:... to name it)
	$(DOCKER) build --tag $(IMAGE) .

.PHONY: demo
demo: ## Serve with a few simulated proxies, to look at
	$(CARGO) run --release -- serve --demo

.PHONY: clean
clean: ## Remove everything that was built, and the peers
	$(CARGO) clean
