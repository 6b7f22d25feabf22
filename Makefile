# aivora-core. `make` prints the targets; CONTRIBUTING.md says how they fit together.
# Needs Python 3.11+, a Rust toolchain and make. Everything else is installed into $(VENV).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
SIZE   ?= 1000000
SEED   ?= 20251010
POOLS  ?= 1000000

, := ,
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
WHEELS := target/wheels
CRATES := --workspace --exclude aivora-py
# Directories are listed too: their times change when a file in them is added or removed.
# Allocators (glibc's, and jemalloc in polars) would give the outputs of each call back to the
# system, and map them anew, page by page.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 \
               _RJEM_MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1
SOURCES := $(shell find rust python -name __pycache__ -prune -o -print 2>/dev/null) \
           $(wildcard Cargo.toml Cargo.lock pyproject.toml README.md LICENSE)

# say TEXT / quietly COMMAND: one line for a step, and its whole output only when it fails.
say = @echo "-- $(1)"
quietly = @mkdir -p target; { $(1); } >target/make.log 2>&1 || { cat target/make.log; exit 1; }

.PHONY: help run test test-rust test-python lint lint-rust lint-python fmt bench docs wheel \
        sdist nightly clean instructions check-instructions

help: ## print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' \
	  $(MAKEFILE_LIST)

run: $(VENV)/.installed ## build the wheel, install it into .venv, run the main job (ARGS=...)
	@$(BIN)/aivora run $(ARGS)

test: test-rust test-python ## all tests: Rust, then Python on the installed wheel

test-rust:
	$(call say,cargo test)
	@cargo test --quiet $(CRATES)
	$(call say,cargo test without overflow checks$(,) as an embedder may build)
	@cargo test --quiet --profile embedder --lib --tests $(CRATES)
	$(call say,the watch$(,) the engine and the journal at full length)
	@cargo test --quiet --release -p aivora-core --test watch --test engine --test journal --test journal_storage

test-python: $(VENV)/.test
	$(call say,pytest on the installed wheel)
	@$(BIN)/pytest --quiet $(ARGS)

lint: lint-rust lint-python docs ## formatters, clippy, ruff, mypy --strict, stubtest, docs

lint-rust:
	$(call say,cargo fmt --check)
	@cargo fmt --all -- --check
	$(call say,cargo clippy)
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(call say,cargo doc)
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps $(CRATES)

lint-python: $(VENV)/.lint
	$(call say,ruff check)
	@$(BIN)/ruff check --quiet
	$(call say,ruff format --check)
	@$(BIN)/ruff format --check --quiet
	$(call say,mypy --strict)
	@$(BIN)/mypy --no-error-summary
	$(call say,stubtest)
	$(call quietly,$(BIN)/python -m mypy.stubtest aivora_core._core)

fmt: $(VENV)/.lint ## format Rust and Python, apply the safe fixes
	@cargo fmt --all
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

bench: $(VENV)/.bench ## one table of ratios, report.json and plots (SIZE= SEED= BARS=report)
	@SIZE=$(SIZE) SEED=$(SEED) BENCH_WRITE=$(if $(ARGS),part,tree) $(KEEP_MEMORY) \
	  $(BIN)/pytest benches --quiet --benchmark-quiet --no-header $(ARGS)

check-instructions: ## count the kernels' instructions (valgrind) and compare with the kept ones
	$(call say,instructions under callgrind)
	@$(PYTHON) benches/instructions.py

instructions: ## keep the kernels' instruction counts of this commit
	@$(PYTHON) benches/instructions.py --update

docs: $(VENV)/.test ## execute README, docs/ and docstring examples; check links
	$(call say,docs: the Rust example)
	$(call quietly,cargo run --quiet --package aivora-core --example first_check)
	$(call say,docs: the matching engines$(,) in Rust and in Python$(,) end alike)
	$(call quietly,cargo run --quiet --package aivora-core --example matching_engine >target/ends && \
	  $(BIN)/python examples/matching_engine.py | diff target/ends -)
	$(call say,docs: executed)
	@$(BIN)/pytest --quiet tests/test_docs.py tests/repository/test_documents.py

wheel: $(WHEELS)/.built ## build the release wheel into target/wheels
	@ls $(WHEELS)/*.whl

sdist: $(VENV)/.maturin ## build the source distribution into target/sdist
	@rm -rf target/sdist
	$(call quietly,$(BIN)/maturin sdist --out target/sdist)
	@ls target/sdist/*.tar.gz

nightly: $(VENV)/.test ## core against oracle on 1,000,000 random pools (POOLS=)
	@AIVORA_POOLS=$(POOLS) $(BIN)/pytest --quiet -m nightly $(ARGS)

clean: ## remove everything that was built or installed here
	@rm -rf $(VENV) target dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

# --- what the targets stand on: each step is redone only when what it came from changed ---------

$(VENV)/.maturin:
	@command -v cargo >/dev/null || { echo "cargo was not found: install Rust, https://rustup.rs"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, for example: make run PYTHON=python3.12"; exit 1; }
	$(call say,creating $(VENV))
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python -m venv failed (on Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(call quietly,$(PIP) install 'maturin>=1.9.4$(,)<2')
	@touch $@

$(WHEELS)/.built: $(VENV)/.maturin $(SOURCES)
	$(call say,building the release wheel: a minute or two the first time)
	@rm -rf $(WHEELS)
	$(call quietly,$(BIN)/maturin build --release --interpreter $(BIN)/python --out $(WHEELS))
	@touch $@

$(VENV)/.installed: $(WHEELS)/.built
	$(call quietly,$(PIP) uninstall --yes aivora-core; $(PIP) install $(WHEELS)/*.whl)
	@touch $@

# An extra is installed by name from the wheel just built; what is there already is left alone.
extra = for w in $(WHEELS)/*.whl; do $(PIP) install "$$w[$(1)]" || exit 1; done

$(VENV)/.test: $(VENV)/.installed
	$(call say,installing the extra: test)
	$(call quietly,$(call extra,test))
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(call say,installing the extra: lint)
	$(call quietly,$(call extra,lint))
	@touch $@

# The peers are large and not on every platform: without them their rows are left out.
$(VENV)/.bench: $(VENV)/.test
	$(call say,installing the extra: bench)
	@for w in $(WHEELS)/*.whl; do $(PIP) install "$$w[bench]" >target/make.log 2>&1 || \
	  echo "   some peers could not be installed: their rows are left out (target/make.log)"; done
	@touch $@
