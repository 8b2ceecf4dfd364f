# Everything a newcomer or a CI job runs. `make` alone prints the list.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where runtime, models, fixtures and the demo clip live; tests read it from the environment.
ROLLCALL_ASSETS ?= .assets
override ROLLCALL_ASSETS := $(abspath $(ROLLCALL_ASSETS))
export ROLLCALL_ASSETS

DENY := $(ROLLCALL_ASSETS)/tools/bin/cargo-deny
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

.NOTPARALLEL:
.PHONY: help setup build index-tool demo test fmt lint unit doc arrows deny clean distclean \
  bench bench-build bench-inference bench-pairs bench-search bench-freshness bench-index bench-identity bench-cluster bench-gallery \
  bench-ingest bench-batch bench-page bench-quality emulate soak check-monitoring fuzz test-faults

help: ## print this list
	@echo "Targets:"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

setup: ## fetch and prepare what the build and the tests need (idempotent)
	@deploy/setup/setup.sh

build: setup ## build the programs rollcalld, rollcall-ingest and rollcall (release)
	@echo "== building the release programs"
	@cargo build --release -p rollcall-server -p rollcall-ingest -p rollcall-client --bins

index-tool: ## build the program rollcall-index (release)
	@cargo build --release -p rollcall-index --features cli

demo: build ## the whole path on a composed clip; VIDEO=path-or-url uses yours
	@python3 -B deploy/demo/demo.py $(if $(VIDEO),--video "$$VIDEO")

test: setup fmt lint arrows unit doc ## all checks and tests
	@echo "== all checks and tests passed"

test-faults: setup ## failing disks, kill -9 and damage at length: HISTORIES=100000 SEED=1 KILLS=300 PARTS=histories,damage,kill
	@.ci/test-faults "$(or $(PARTS),histories,damage,kill)" "$(or $(HISTORIES),100000)" "$(SEED)" "$(or $(KILLS),300)"

fmt: ## check the formatting
	@echo "== cargo fmt"
	@cargo fmt --all --check

lint: setup ## clippy, warnings are errors
	@echo "== cargo clippy"
	@cargo clippy --workspace --all-targets -- -D warnings
	@echo "== the vision half alone builds without FFmpeg"
	@cargo clippy -p rollcall-ingest --no-default-features -- -D warnings

unit: setup ## unit, property and end-to-end tests
	@echo "== the programs that the end-to-end tests start"
	@cargo build --workspace --bins
	@echo "== the demo's own judgement"
	@python3 -B -m unittest discover -s deploy/demo
	@if cargo nextest --version >/dev/null 2>&1; then \
	  echo "== cargo nextest run"; cargo nextest run --workspace; \
	else \
	  echo "== cargo test"; cargo test --workspace --lib --bins --tests; \
	fi

doc: setup ## the examples in the documentation
	@echo "== cargo test --doc"
	@cargo test --workspace --doc

arrows: ## check that no crate depends on what it must not know
	@echo "== dependency arrows"
	@.ci/arrows

deny: ## check licences, banned crates and sources of the dependencies
	@if [ ! -x "$(DENY)" ]; then \
	  echo "== installing cargo-deny into $(dir $(DENY)), this takes some minutes"; \
	  cargo install --locked --quiet --version 0.20.2 --root "$(ROLLCALL_ASSETS)/tools" cargo-deny; \
	fi
	@echo "== cargo deny"
	@cargo fetch --locked --quiet
	@"$(DENY)" --offline check licenses bans sources

bench: bench-inference bench-search bench-freshness ## run the benchmarks one after the other

bench-build: build
	@cargo build --release -p rollcall-benches --bins

bench-inference: bench-build ## what a face costs to embed, a picture to search for faces
	@"$(RELEASE)/inference"

bench-pairs: bench-build ## labelled photos: PAIRS=folder with pairs.csv (file_x,file_y,Decision)
	@"$(RELEASE)/pairs" "$(PAIRS)"

bench-search: bench-build ## what a search takes over loopback, beside a bare round trip
	@"$(RELEASE)/search_latency"

bench-freshness: bench-build ## how soon a face in a live video is told of and found
	@"$(RELEASE)/freshness"

bench-index: ## the index beside its peers: CORPUS=tv|crowd N=1000000 PEERS=faiss,scann|none
	@cargo build --release -p rollcall-benches --no-default-features --bin index_bench
	@benches/index/setup.sh "$(PEERS)"
	@"$(ROLLCALL_ASSETS)/bench-venv/bin/python" -B benches/index/run.py \
	  --binary "$(RELEASE)/index_bench" \
	  $(if $(CORPUS),--corpus "$$CORPUS") $(if $(N),--n "$$N") $(if $(PEERS),--peers "$$PEERS") \
	  $(if $(VECTORS),--vectors "$$VECTORS") $(if $(IDENTITIES),--identities "$$IDENTITIES") \
	  $(if $(TRACKS),--tracks "$$TRACKS") $(if $(QUERIES),--queries "$$QUERIES") \
	  $(if $(QUERY_IDENTITIES),--query-identities "$$QUERY_IDENTITIES") \
	  $(if $(OUT),--out "$$OUT") $(if $(BESIDE),--beside $$BESIDE)

bench-identity: ## faces put to identities beside peers: CORPUS=tv|crowd N=200000 ORDER=stream|shuffled SYSTEMS=flat,hri
	@cargo build --release -p rollcall-benches --no-default-features --features models --bin identity_bench
	@benches/venv.sh identity
	@"$(ROLLCALL_ASSETS)/identity-venv/bin/python" -B benches/identity/run.py \
	  --binary "$(RELEASE)/identity_bench" \
	  $(if $(CORPUS),--corpus "$$CORPUS") $(if $(N),--n "$$N") $(if $(SYSTEMS),--systems "$$SYSTEMS") \
	  $(if $(VECTORS),--vectors "$$VECTORS") $(if $(IDENTITIES),--identities "$$IDENTITIES") \
	  $(if $(TRACKS),--tracks "$$TRACKS") $(if $(FRAMES),--frames "$$FRAMES") \
	  $(if $(ORDER),--order "$$ORDER") $(if $(TUNE_N),--tune-n "$$TUNE_N") \
	  $(if $(THRESHOLDS),--thresholds "$$THRESHOLDS") $(if $(OUT),--out "$$OUT")

bench-cluster: ## faces that are all there, clustered beside peers: CORPUS=tv|crowd N=20000 SYSTEMS=rollcall,streamface
	@cargo build --release -p rollcall-ingest --no-default-features
	@benches/venv.sh identity
	@"$(ROLLCALL_ASSETS)/identity-venv/bin/python" -B benches/cluster/bench.py \
	  --binary "$(RELEASE)/rollcall-ingest" \
	  $(if $(CORPUS),--corpus "$$CORPUS") $(if $(N),--n "$$N") $(if $(SYSTEMS),--systems "$$SYSTEMS") \
	  $(if $(VECTORS),--vectors "$$VECTORS") $(if $(IDENTITIES),--identities "$$IDENTITIES") \
	  $(if $(TRACKS),--tracks "$$TRACKS") $(if $(TUNE_N),--tune-n "$$TUNE_N") \
	  $(if $(THREADS),--threads "$$THREADS") $(if $(THRESHOLDS),--thresholds "$$THRESHOLDS") \
	  $(if $(OUT),--out "$$OUT")

bench-gallery: ## who is found in an enrolled gallery, and who is taken for somebody: CORPUS=tv|crowd N=1000000 PEOPLE=10000 PHOTOS=10
	@cargo build --release -p rollcall-benches --no-default-features --features models --bin gallery
	@benches/venv.sh identity
	@"$(ROLLCALL_ASSETS)/identity-venv/bin/python" -B benches/index/corpus.py --corpus "$(or $(CORPUS),tv)" --n "$(or $(N),1000000)" \
	  "$(ROLLCALL_ASSETS)/bench/$(or $(CORPUS),tv)-$(or $(N),1000000)"
	@"$(RELEASE)/gallery" --corpus "$(ROLLCALL_ASSETS)/bench/$(or $(CORPUS),tv)-$(or $(N),1000000)" \
	  $(if $(PEOPLE),--people "$$PEOPLE") $(if $(PHOTOS),--photos "$$PHOTOS")

bench-ingest: setup ## video into a log, beside a Python pipeline: VIDEO=file SYSTEMS=rollcall/key OUT=folder
	@cargo build --release -p rollcall-ingest
	@cargo build --release -p rollcall-benches --no-default-features --features log --bin log_tracks
	@benches/venv.sh ingest
	@"$(ROLLCALL_ASSETS)/ingest-venv/bin/python" -B benches/ingest/run.py --bin "$(RELEASE)" \
	  $(if $(VIDEO),--video "$$VIDEO") $(if $(SECONDS_OF_VIDEO),--seconds "$$SECONDS_OF_VIDEO") \
	  $(if $(SYSTEMS),--systems "$$SYSTEMS") $(if $(ROUNDS),--rounds "$$ROUNDS") \
	  $(if $(REFERENCE),--reference) $(if $(OUT),--out "$$OUT")

bench-batch: setup ## a film as facerec writes it, beside facerec's pipeline in Python, on one core: VIDEO=file SECONDS_OF_VIDEO=30 OUT=folder
	@cargo build --release -p rollcall-ingest
	@cargo build --release -p rollcall-benches --no-default-features --features log --bin log_tracks
	@benches/venv.sh ingest
	@"$(ROLLCALL_ASSETS)/ingest-venv/bin/python" -B benches/batch/run.py --bin "$(RELEASE)" \
	  $(if $(VIDEO),--video "$$VIDEO") $(if $(SECONDS_OF_VIDEO),--seconds "$$SECONDS_OF_VIDEO") \
	  $(if $(SYSTEMS),--systems "$$SYSTEMS") $(if $(ROUNDS),--rounds "$$ROUNDS") \
	  $(if $(OUT),--out "$$OUT")

fuzz: ## readers of bytes from outside, fed with changed files: SECONDS=60 a target, TARGETS=log,index SEED=1
	@cargo build --release -p rollcall-benches --no-default-features --features fuzz --bin fuzz
	@"$(RELEASE)/fuzz" $(if $(SECONDS),--seconds "$$SECONDS") $(if $(TARGETS),--targets "$$TARGETS") \
	  $(if $(SEED),--seed "$$SEED")

check-monitoring: build ## dashboards and alerts over a real server, by the real Prometheus (needs prometheus and ffmpeg)
	@python3 -B deploy/monitoring/check.py

bench-page: build ## from a photo dropped on the page to its answer, in Chromium
	@python3 -B benches/page/run.py --assets "$(ROLLCALL_ASSETS)" --bin-dir "$(RELEASE)"

bench-quality: ## shots and tracks beside peers, on composed films: TASK=shots|tracking OUT=folder PEERS=all|none
	@cargo build --release -p rollcall-benches --no-default-features --features films --bin shots --bin tracks
	@benches/quality/setup.sh
ifneq ($(TASK),tracking)
	@"$(ROLLCALL_ASSETS)/quality-venv/bin/python" -B benches/quality/shots.py \
	  --binary "$(RELEASE)/shots" $(if $(OUT),--out "$$OUT") $(if $(PEERS),--peers "$$PEERS")
endif
ifneq ($(TASK),shots)
	@"$(ROLLCALL_ASSETS)/quality-venv/bin/python" -B benches/quality/tracks.py \
	  --binary "$(RELEASE)/tracks" $(if $(OUT),--out "$$OUT") $(if $(PEERS),--peers "$$PEERS")
endif

soak: build ## a live stream broken once a minute, memory and files watched: MINUTES=30
	@python3 -B benches/soak/soak.py --assets "$(ROLLCALL_ASSETS)" --bin-dir "$(RELEASE)" \
	  $(if $(MINUTES),--minutes "$$MINUTES")

emulate: ## test the index's AVX-512 and NEON kernels in emulators: benches/emulate/README.md
	@benches/emulate/run.sh

clean: ## remove build output
	@cargo clean

distclean: clean ## remove build output and everything that set-up made
	@if [ -e "$(ROLLCALL_ASSETS)/.lock" ]; then rm -rf -- "$(ROLLCALL_ASSETS)"; fi
