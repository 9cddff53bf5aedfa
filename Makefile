# The store's commands. Each is explained by `make help`; the program behind most of them is cluster-config.

# Where cargo builds. Shared by all clones on this machine, since RocksDB takes a quarter of an hour to compile;
# CARGO_TARGET_DIR in the environment wins.
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/catalog-store/target
export CARGO_TARGET_DIR

# The layout: a number for cluster-config/config_N.toml or a path. Empty: the one that runs here, else 4.
LAYOUT ?=
NODE ?=
# Where `make add` and `make replace` have a new replica, if not here: host:port of its two ports.
CLIENT ?=
PEER ?=
# What `make demo` kills: a catalog, `leader`, or empty for catalog-2 and then the leader.
VICTIM ?=
# How long `make faults` goes on, from which seed, in episodes of how many seconds (25). How long `make overload` does (60).
MINUTES ?=
SEED ?=
EPISODES ?=
SECONDS ?=
# How many seeds `make simulate` runs; with MINUTES it goes on for so long instead.
SEEDS ?= 100
# The one broken variant that `make faults-mutants` is to try, the parts that `make bench` is to measure, or what
# `make microbench` is to.
ONLY ?=
# How often `make bench` measures each figure (3), for SECONDS (5), and how often it has the leader go (20).
ROUNDS ?=
TIMES ?=
# How `make microbench` builds: dist, or dev.
PROFILE ?=
# `loadgen` drives by it what wrk would.
DRIVER ?=

# Freshly built programs of this clone; a running cluster has copies of its own.
BUILT := run/built
INSTALLED := run/bin/cluster-config
CARGO := .ci/with-target cargo
layout := $(if $(LAYOUT),-c '$(LAYOUT)')

.DEFAULT_GOAL := help
.PHONY: help up demo test status kill stop restart pause resume replace add remove logs down clean check fix bench bench-peers microbench faults faults-mutants overload simulate simulation tools build

help: ## shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: ## builds, starts the cluster, waits until it serves [LAYOUT=4]
	@if [ -x $(INSTALLED) ]; then \
		$(INSTALLED) $(layout) up --check && exit 0; \
		[ $$? -eq 3 ] || exit 1; \
	fi; \
	$(MAKE) --no-print-directory build && $(BUILT)/cluster-config $(layout) up --from $(BUILT)

demo: build ## tells the story of a crash and a recovery, with figures [VICTIM=catalog-2|leader]
	@$(BUILT)/cluster-config $(layout) demo --from $(BUILT) $(if $(VICTIM),--victim '$(VICTIM)')

# What needs a cluster that is here already: never builds.
define installed
	@if [ ! -x $(INSTALLED) ]; then echo 'no cluster here: run make up first' >&2; exit 1; fi
	@$(INSTALLED) $(layout)
endef
define needs_node
	@if [ -z '$(NODE)' ]; then echo 'name a node: make $@ NODE=catalog-2 (or order-1, frontend-1, leader, all)' >&2; exit 1; fi
endef

status: ## shows all nodes: up or down, role, term, applied, lag
	$(installed) status

kill: ## SIGKILL [NODE=catalog-2, leader, all]
	$(needs_node)
	$(installed) kill '$(NODE)'

stop: ## SIGTERM, and waits; a leader hands over first [NODE=...]
	$(needs_node)
	$(installed) stop '$(NODE)'

restart: ## starts a node on its own data, waits until it has caught up [NODE=...]
	$(needs_node)
	$(installed) restart '$(NODE)'

pause: ## SIGSTOP [NODE=...]
	$(needs_node)
	$(installed) pause '$(NODE)'

resume: ## SIGCONT [NODE=...]
	$(needs_node)
	$(installed) resume '$(NODE)'

at := $(if $(CLIENT),--client '$(CLIENT)') $(if $(PEER),--peer '$(PEER)')

replace: ## has a new replica take the place of one whose disk is lost; go on by running it again [NODE=catalog-2]
	$(needs_node)
	$(installed) replace '$(NODE)' $(at)

add: ## adds a replica, on free ports or at CLIENT and PEER; go on by running it again [NODE=... CLIENT=host:port PEER=host:port]
	$(installed) add $(if $(NODE),'$(NODE)') $(at)

remove: ## removes a replica for good, its data is kept; a leader hands over first [NODE=catalog-4, leader]
	$(needs_node)
	$(installed) remove '$(NODE)'

logs: ## follows a node's log [NODE=...]
	$(needs_node)
	$(installed) logs '$(NODE)'

# Down and clean are content when there is nothing to do. A clone that only ran tests or the demo has no INSTALLED.
program = $(firstword $(wildcard $(INSTALLED) $(BUILT)/cluster-config))

down: ## stops everything, keeps data
	@if [ ! -x $(INSTALLED) ]; then echo 'nothing is running'; else $(INSTALLED) $(layout) down; fi

clean: ## removes the data of a cluster that is down
	@if [ -z '$(program)' ]; then echo 'nothing to clean'; else $(program) clean; fi

tools:
	@.ci/tools

build: tools
	@.ci/with-target .ci/build $(BUILT)

test: build simulation ## all tests
	@$(BUILT)-simulation/simulate --seed 1 --seeds 40
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)' $(CARGO) test --locked --workspace --lib --bins --tests

check: tools ## formatting, lints, documentation, licences; changes nothing
	@cargo fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@$(CARGO) clippy --locked -p simulation --features simulation --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	@.ci/licences

fix: tools ## formats, and applies what lints suggest
	@cargo fmt --all
	@$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# What is measured is built as it ships. Data lies where it outlives a reboot: where temporary files are kept in memory,
# syncing costs nothing.
bench: tools ## measures the store and its peers in one run [ROUNDS=3 SECONDS=5 TIMES=20 ONLY=lookup,buy,failover,... DRIVER=loadgen]
	@.ci/with-target .ci/build $(BUILT)-dist --profile dist
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)-dist' TMPDIR="$${TMPDIR:-/var/tmp}" $(BUILT)-dist/bench \
		--rounds '$(or $(ROUNDS),3)' --seconds '$(or $(SECONDS),5)' $(if $(TIMES),--times '$(TIMES)') \
		$(if $(ONLY),--only '$(ONLY)') $(if $(filter loadgen,$(DRIVER)),--loadgen)

bench-peers: ## installs the peers of make bench that are missing
	@.ci/peers

# Of what ships by default, which compiles RocksDB for it once more; PROFILE=dev is a quick look at what tests run.
microbench: tools ## what parts cost alone: apply, codecs, log store, cache [PROFILE=dev ONLY=apply]
	@$(CARGO) bench --locked --profile '$(or $(PROFILE),dist)' -p catalog-raft -p catalog-client -p frontend \
		--bench catalog --bench frame --bench cache -- '$(ONLY)'

faults: build ## faults at random, overlapping, under load, all checks [MINUTES=10 SEED=... EPISODES=... SECONDS=25]
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)' $(BUILT)/faults --minutes '$(or $(MINUTES),10)' --seconds '$(or $(SECONDS),25)' \
		$(if $(SEED),--seed '$(SEED)') $(if $(EPISODES),--episodes '$(EPISODES)')

# Built apart, since cargo adds features up within one build: nothing that ships has a simulated network or disk in it.
simulation: tools
	@.ci/with-target cargo build --locked -p simulation --features simulation
	@mkdir -p $(BUILT)-simulation && cp "$$CARGO_TARGET_DIR/debug/simulate" $(BUILT)-simulation/.new && mv $(BUILT)-simulation/.new $(BUILT)-simulation/simulate

simulate: simulation ## the store in one process, on a network and disks that fail, in virtual time [SEEDS=100 MINUTES=... SEED=... SECONDS=12]
	@$(BUILT)-simulation/simulate --seeds '$(SEEDS)' $(if $(MINUTES),--minutes '$(MINUTES)') \
		$(if $(SEED),--seed '$(SEED)') $(if $(SECONDS),--seconds '$(SECONDS)')

# The broken variants have a folder of their own: nothing that is started by another target comes from there.
faults-mutants: build ## breaks the store on purpose in twelve ways, and says which check notices [ONLY=dedup-skipped]
	@.ci/with-target .ci/build $(BUILT)-mutants --features catalog-raft/mutants,order/mutants,frontend/mutants
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)-mutants' RUST_BACKTRACE=0 $(BUILT)/mutants $(if $(ONLY),--only '$(ONLY)')

overload: build ## ten times the load that can be served, with figures [SECONDS=60]
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)' OVERLOAD_SECONDS='$(or $(SECONDS),60)' \
		$(CARGO) test --locked --quiet -p tests --test faults -- --nocapture overload::
