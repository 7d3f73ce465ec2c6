# On a fresh machine: `make demo` sets up and runs the codec on the samples, `make test` sets up and tests.
# SPEECH is a folder of speech with an INDEX.tsv, for `make quality` and training.
PYTHON ?= python3
SPEECH ?= ../shared/speech
VENV := .venv
BIN := $(VENV)/bin
LIGHT := $(VENV)/.light
FULL := $(VENV)/.full

.PHONY: demo test check bench quality export setup clean

demo: $(LIGHT)
	$(BIN)/silk roundtrip samples/english.flac samples/mandarin.flac samples/arabic.flac -o out --force

test: $(FULL)
	$(BIN)/python -m pytest

check: $(FULL)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(FULL)
	$(BIN)/python bench/speed.py --out bench/speed.json
	$(BIN)/python bench/tables.py

quality: $(FULL)
	$(BIN)/silk evaluate $(SPEECH) --split valid --codecs silk,codec2:1200,codec2:3200,opus:6k \
		-o bench/quality.json --force
	$(BIN)/python bench/tables.py

# make export RUN=runs/default
export: $(FULL)
	$(BIN)/silk export $(RUN) -o src/silkcodec/weights --results bench/quality.json

setup: $(FULL)

# The demo needs the light install only; the tests need everything. Both are pinned by constraints.txt.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(LIGHT): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(FULL): $(LIGHT)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out dist build
