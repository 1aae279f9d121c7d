# `make demo` and `make test` need python3 (3.11 or newer) and make, nothing
# else: each sets up .venv on its first call. `make help` lists the commands.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 \
	python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q \
	-c constraints.txt -e

TEST := $(BIN)/python -m pytest -n 2 --dist worksteal

# Which of CuPy's wheels: drivers of CUDA 13 run that of 12 as well.
CUDA ?= cuda12

# One thread for the linear algebra: sums come out in one order, and the
# times printed are times of one core.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

.PHONY: help demo test test-all check lint format types imports doctests \
	spelling fuzz report-shots bench test-gpu bench-gpu constraints clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      the whole chain on a small real population (demo-report/)"
	@echo "make test      the tests, without the slow ones"
	@echo "make test-all  the tests, with the slow ones"
	@echo "make check     lint format types imports doctests spelling (each a target)"
	@echo "make fuzz      the readers of foreign files on mutants, until Ctrl-C"
	@echo "make report-shots  the demo's page at three sizes, light and dark"
	@echo "make bench     the benchmarks; their figures in docs/performance.md"
	@echo "make test-gpu  the tests that need a GPU; skipped where there is none"
	@echo "make bench-gpu a GPU beside its floors; its figures in docs/gpu.md"
	@echo "make analyses  the reports of analyses/, anew"
	@echo "make clean     take away what the above have made"

demo: .venv/.core
	$(BIN)/spectra demo -o demo-report

test: .venv/.test
	$(TEST)

test-all: .venv/.test
	$(TEST) -m "not gpu and not network"

# `make -k check` goes on after the first that fails.
check: lint format types imports doctests spelling

lint: .venv/.lint
	$(BIN)/ruff check

format: .venv/.lint
	$(BIN)/ruff format --check

types: .venv/.lint
	$(BIN)/mypy

imports: .venv/.lint
	$(BIN)/lint-imports --no-logo --no-cache

doctests: .venv/.lint
	$(BIN)/python -m pytest --doctest-modules spectra

spelling: .venv/.lint
	$(BIN)/codespell

# `make fuzz FUZZ="--seconds 60 --seed 1"` ends, and can be had again.
FUZZ ?= --forever

fuzz: .venv/.test
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Of the page as a reader has it, to be looked at; needs chromium.
report-shots: .venv/.test
	$(BIN)/spectra demo -o demo-report --quiet
	$(BIN)/python -m tests.report.shots demo-report/report.html report-shots

bench: .venv/.bench
	$(BIN)/python -m benchmarks

test-gpu: .venv/.gpu
	$(BIN)/python -m pytest -m gpu

bench-gpu: .venv/.gpu
	$(BIN)/python -m benchmarks.gpu

analyses: .venv/.test
	$(BIN)/python -m analyses.verdict.tables
	$(BIN)/python -m analyses.random_init.draw
	$(BIN)/spectra run analyses/random_init/study.toml
	$(BIN)/spectra run analyses/minilm_lora/study.toml
	$(BIN)/spectra run spectra/demo_population/independent \
		-o analyses/minilm_lora/out/independent
	$(BIN)/spectra run spectra/demo_population/same-seed \
		-o analyses/minilm_lora/out/same-seed
	$(BIN)/python -m analyses.geometric_memory.train
	$(BIN)/python -m analyses.platonic.measure $(SPECTRA_POPULATIONS)
	$(BIN)/python -m analyses.minilm_adapt.tables
	$(BIN)/python -m analyses.minilm_merge.tables
	$(BIN)/python -m analyses.universal_subspace.tables \
		$(SPECTRA_POPULATIONS)

# Needs uv. CUDA's wheels come with torch where its index says so; their
# versions are torch's own affair, as is the variant (+cpu).
constraints:
	uv pip compile pyproject.toml --universal --python-version 3.11 -q \
		--prerelease disallow --no-header --no-annotate \
		--extra table --extra test --extra bench --extra lint \
		-o constraints.new
	sed -E -e '/^(cuda-|nvidia-|triton)/d' -e '/[+]cpu/d' \
		-e 's/^(torch==[^ ]+) ;.*/\1/' constraints.new > constraints.txt
	rm constraints.new

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache build dist demo-report report-shots
	find spectra tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each set of packages: the second call installs nothing.
.venv/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing spectra (once; about a minute) ..."
	@$(INSTALL) .
	@touch $@

.venv/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing spectra with what its tests need (once; torch is large) ..."
	@$(INSTALL) '.[test]'
	@touch $@ .venv/.core

.venv/.bench: .venv/.test
	@echo "Installing what the benchmarks compare with (once) ..."
	@$(INSTALL) '.[bench]'
	@touch $@

# CuPy is 2 GB: it is installed where a driver is.
.venv/.gpu: .venv/.test
	@command -v nvidia-smi > /dev/null || exit 0; \
	echo "Installing CuPy (once) ..."; \
	$(INSTALL) '.[test,$(CUDA)]' && touch $@

.venv/.lint: .venv/.test
	@echo "Installing the linters (once) ..."
	@$(INSTALL) '.[lint]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "spectra needs Python 3.11 or newer, and \
	none is on PATH. Install one, or name it: make demo PYTHON=/path/to/python3" \
	>&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	"spectra needs Python 3.11 or newer; $(PYTHON) is older or not there." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has \
	no venv module. On Debian and Ubuntu: apt-get install python3-venv" \
	>&2; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 2; }
