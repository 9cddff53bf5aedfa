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
# `yes` has `make questions` write the tables and pictures of docs/questions.md.
DOCS ?=
# How far `make growth` goes, which measures each figure twice for 3 s.
ITEMS ?=
ORDERS ?=
WATCHERS ?=
# `no` builds what is measured, and what ships, without training it first (docs/benchmarks.md).
PGO ?=
export PGO
# How `make microbench` builds: dist, or dev.
PROFILE ?=
# `loadgen` drives by it what wrk would.
DRIVER ?=

# The tag of images; where this machine's clients find the containers' front end (127.0.0.1:35303); `yes` has `make
# compose-down` remove the data too.
TAG ?= local
PUBLISH ?=
VOLUMES ?=

# Freshly built programs of this clone; a running cluster has copies of its own.
BUILT := run/built
INSTALLED := run/bin/cluster-config
CARGO := .ci/with-target cargo
layout := $(if $(LAYOUT),-c '$(LAYOUT)')

.DEFAULT_GOAL := help
.PHONY: help up demo test status kill stop restart pause resume logs down clean check fix bench growth questions bench-peers microbench faults faults-mutants overload simulate simulation tools build browser page images compose-up compose-demo compose-down dist replace add remove

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

test: build simulation browser ## all tests
	@command -v curl >/dev/null || .ci/install 'the examples of the guide need' curl || true
	@.ci/hosts
	@$(BUILT)-simulation/simulate --seed 1 --seeds 40
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)' AXE_JS='$(AXE_JS)' $(CARGO) test --locked --workspace --lib --bins --tests

# What the tests of the page need; without it they are skipped by name.
AXE_JS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/catalog-store/axe.min.js
browser:
	@.ci/page '$(AXE_JS)' || true

page: tools build browser ## the tests of the page alone, in a browser; pictures in run/page
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)' AXE_JS='$(AXE_JS)' $(CARGO) test --locked --workspace --test page -- --nocapture

check: tools ## formatting, lints, documentation, licences and what else deny.toml says; changes nothing
	@cargo fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@$(CARGO) clippy --locked -p simulation --features simulation --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	@.ci/licences
	@.ci/deny

fix: tools ## formats, and applies what lints suggest
	@cargo fmt --all
	@$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# Of what runs on this machine itself only the program behind these targets is needed, which has no RocksDB in it.
compose = $(CARGO) run --quiet --locked -p cluster-config -- compose --tag '$(TAG)' $(if $(PUBLISH),--publish '$(PUBLISH)')

images: ## builds the three container images [TAG=local BUILDER=rust:1-bookworm]
	@.ci/engine
	@.ci/images '$(TAG)'

compose-up: images ## starts the store in containers, waits until it serves [PUBLISH=127.0.0.1:35303]
	@$(compose) up

compose-demo: images ## tells the story of make demo on containers of its own [VICTIM=catalog-2|leader]
	@$(CARGO) run --quiet --locked -p cluster-config -- demo --compose compose.yaml --tag '$(TAG)' $(if $(VICTIM),--victim '$(VICTIM)')

compose-down: ## stops and removes the containers, keeps their data [VOLUMES=yes removes it]
	@$(compose) down $(if $(VOLUMES),--volumes)

dist: tools ## a tarball for other machines: programs, systemd units, layouts, the guide
	@.ci/dist

# What is measured is built as it ships. Data lies where it outlives a reboot: where temporary files are kept in memory,
# syncing costs nothing.
bench: tools ## measures the store and its peers in one run [ROUNDS=3 SECONDS=5 TIMES=20 ONLY=lookup,buy,failover,... DRIVER=loadgen]
	@.ci/with-target .ci/build $(BUILT)-dist --profile dist
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)-dist' TMPDIR="$${TMPDIR:-/var/tmp}" $(BUILT)-dist/bench \
		--rounds '$(or $(ROUNDS),3)' --seconds '$(or $(SECONDS),5)' $(if $(TIMES),--times '$(TIMES)') \
		$(if $(ONLY),--only '$(ONLY)') $(if $(filter loadgen,$(DRIVER)),--loadgen)

bench-peers: ## installs the peers of make bench that are missing
	@.ci/peers

growth: tools ## measures the store as it grows: items, orders, clients, watchers [ITEMS=1000000 ORDERS=10000000 WATCHERS=1000 ROUNDS=2 SECONDS=3 ONLY=items,orders,...]
	@.ci/with-target .ci/build $(BUILT)-dist --profile dist
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)-dist' TMPDIR="$${TMPDIR:-/var/tmp}" $(BUILT)-dist/growth \
		--rounds '$(or $(ROUNDS),2)' --seconds '$(or $(SECONDS),3)' $(if $(ITEMS),--items '$(ITEMS)') \
		$(if $(ORDERS),--orders '$(ORDERS)') $(if $(WATCHERS),--watchers '$(WATCHERS)') $(if $(ONLY),--only '$(ONLY)')

questions: tools ## answers the four questions of the original's task with figures [ROUNDS=3 SECONDS=1 TIMES=3 DOCS=yes puts them into docs/]
	@.ci/with-target .ci/build $(BUILT)-dist --profile dist
	@CATALOG_STORE_BIN='$(CURDIR)/$(BUILT)-dist' TMPDIR="$${TMPDIR:-/var/tmp}" $(BUILT)-dist/questions \
		--rounds '$(or $(ROUNDS),3)' --seconds '$(or $(SECONDS),1)' --times '$(or $(TIMES),3)' $(if $(DOCS),--docs docs)

# Built as what ships by default, but not trained; PROFILE=dev is a quick look at what tests run.
microbench: tools ## what parts cost alone: apply, codecs, log store, cache [PROFILE=dev ONLY=apply]
	@.ci/with-target .ci/with-rocksdb '$(or $(PROFILE),dist)' cargo bench --locked --profile '$(or $(PROFILE),dist)' \
		-p catalog-raft -p catalog-client -p frontend --bench catalog --bench frame --bench cache -- '$(ONLY)'

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
