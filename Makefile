# make demo     install into .venv, then caption and tag the recordings in examples/
# make test     install what the tests need, then run all but the slow ones
# make explore  run the property tests with new random examples (make test draws the same ones everywhere)
# make wheel-check   the wheel in an empty environment without torch, used from an empty folder
# make lint     ruff and mypy
# make docs     the pages of docs/ as a site in site/; a broken link fails
# make pretrained   the weights of others that training can start from or learn from (220 MB, docs/training.md)
# make minilm   the text embedder of `sonopsis eval --embedder minilm` (90 MB, docs/metrics.md)
# make smollm2  SmolLM2-135M, a pretrained language model for captioners that is no Mamba-2 (93 MB, docs/training.md)
# make instruments  TinySoundFont, which plays the sound fonts of a task of docs/results-pruning.md
# make model    the default model from nothing: recordings, training, figures; carries on where it was stopped (docs/training.md)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A worker that has nothing left takes tests from the other: slow ones do not wait behind each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo wheel-check test test-slow explore test-all lint format docs check pretrained minilm smollm2 instruments model clean
.DEFAULT_GOAL := test

# The stamps stand for "installed": pip runs again only when the requirements have changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev,torch,train,hf,data,hub,export,openvino,fast,media,parquet,serve,report,sweep,scale]"
	touch $(VENV)/.core $@

demo: $(VENV)/.core
	$(BIN)/sonopsis caption examples/*

wheel-check: | $(BIN)/python
	$(BIN)/python scripts/check_wheel.py

test: $(VENV)/.dev check
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow || test $$? -eq 5  # 5: there is none

SEED ?= $(shell date +%s)
explore: $(VENV)/.dev
	SONOPSIS_TESTS=explore $(PYTEST) -m "hypothesis and not slow" --hypothesis-seed=$(SEED)

test-all: test test-slow

check: $(VENV)/.dev
	$(BIN)/python scripts/check_environment.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[docs]"
	touch $(VENV)/.core $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pretrained: $(VENV)/.core
	$(BIN)/python scripts/fetch_pretrained.py

minilm: $(VENV)/.core
	$(BIN)/python scripts/fetch_pretrained.py minilm

smollm2: $(VENV)/.dev
	$(BIN)/python scripts/fetch_pretrained.py smollm2

instruments: $(VENV)/.dev
	$(INSTALL) --no-deps tinysoundfont==0.3.7  # without PyAudio, which it needs to be heard and which has to be compiled

model: $(VENV)/.dev
	$(BIN)/python scripts/make_model.py

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
