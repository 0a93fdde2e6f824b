# painter: one target a stage. `make` alone prints this list.
#
# Variables, as in make train RUN=runs/first ARGS="--set batch_size=32 --minutes 10":
#   SOURCE    where training images come from: competition, dataset:OWNER/SLUG, sample, a folder or zip
#   DATA      folder or zip of training images [default: data/monet, or data/NAME of another SOURCE]
#   PRESET    named settings of the run
#   RUN       run folder [default: runs/PRESET, or runs/PRESET-NAME of another SOURCE]
#   COUNT     images to generate
#   FROM      images that best and best-photos choose from
#   PHOTOS    photos that best-photos translates [default: DATA, which has the competition's]
#   FEATURES  whose features images are scored by: inception or efficientnet-lite0
#   MODEL     a model that comes with painter, to submit without training
#   STUDY     a study: its file, or the name of one that comes with painter
#   ON        where it is trained: here or kaggle
#   IMAGES    images that bench-score scores
#   REF       the commit that compare compares with
#   ARGS      any further options of the command
#   PYTHON    the Python that .venv is made with
#   TORCH     which torch: cpu (without CUDA), cuda, or auto: by what is installed, then by the card
#   WHEELS    the index of torch's wheels without CUDA
#   UV        the uv that installs, if it is there; empty for pip

PYTHON   ?= python3
VENV     := .venv
PAINTER  := $(VENV)/bin/painter
SOURCE   ?= competition
# Each source has folders of its own: data/monet and runs/PRESET are the competition's, those of
# others carry their name. What was tried on one is never trained on or submitted as another's.
NAME      = $(if $(filter dataset:%,$(SOURCE)),$(subst /,-,$(patsubst dataset:%,%,$(SOURCE))),$(patsubst %.zip,%,$(notdir $(patsubst %/,%,$(SOURCE)))))
DATA     ?= data/$(if $(filter competition,$(SOURCE)),monet,$(NAME))
PRESET   ?= monet-dcgan
RUN      ?= runs/$(PRESET)$(if $(filter competition,$(SOURCE)),,-$(NAME))
COUNT    ?= 7000
FROM     ?= 20000
PHOTOS   ?= $(DATA)
FEATURES ?= inception
STUDY    ?= noise
IMAGES   ?= 2000
REF      ?= HEAD
MODEL    ?=
ON       ?= here
ARGS     ?=
TORCH    ?= auto
WHEELS   ?= https://download.pytorch.org/whl/cpu
UV       ?= uv

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test coverage lint check bench bench-train bench-generate bench-translate bench-package bench-score bench-parts bench-service bench-machine scale agreement controls compare reference download explore train generate best best-photos score package report study serve runs kernel watch pull submit leaderboard doctor format lock

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

# A torch that is asked for by name is installed over the other.
ASKED = $(if $(filter command,$(firstword $(origin TORCH))),ASKED)
INSTALL = $(PYTHON) -m tools.install --venv $(VENV) --torch $(TORCH) --wheels $(WHEELS) --uv "$(UV)"
NEWENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "painter needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
.PHONY: ASKED

$(VENV)/.ready: requirements.lock pyproject.toml $(ASKED)
	@$(NEWENOUGH)
	$(INSTALL) requirements.lock
	@touch $@

# The same versions and what tests, lint and types need, in one go where nothing is installed yet.
$(VENV)/.dev-ready: requirements-dev.lock requirements.lock pyproject.toml
	@$(NEWENOUGH)
	$(INSTALL) requirements-dev.lock
	@touch $(VENV)/.ready $@

setup: $(VENV)/.ready  ## make .venv with painter and the offline extractor in it
	@echo
	@echo 'painter is in $(VENV). To go on:'
	@echo '  source $(VENV)/bin/activate'
	@echo '  painter generate --model monet-dcgan --count 100 --out monets'

demo: $(VENV)/.ready  ## a wall of paintings, then every stage on drawn landscapes, on the CPU, without an account
	$(PAINTER) demo $(ARGS)

download: $(VENV)/.ready  ## SOURCE -> DATA: paintings, with a manifest
	$(PAINTER) download --source $(SOURCE) --data $(DATA) $(ARGS)

explore: $(VENV)/.ready  ## DATA -> DATA.explore: what the images hold, on one page
	$(PAINTER) explore --data $(DATA) $(ARGS)

# Without COUNT painter decides: 7,000, or of a translator an image of each photo.
GIVEN_COUNT = $(if $(filter command environment,$(firstword $(origin COUNT))),--count $(COUNT))
KERNEL = $(PAINTER) kernel push --source $(SOURCE) --preset $(PRESET) --run $(RUN) $(GIVEN_COUNT)

train: $(VENV)/.ready  ## DATA, PRESET -> RUN: train, or take it up again; ON=kaggle: push, wait, pull
	$(if $(filter kaggle,$(ON)),$(KERNEL) --wait $(ARGS) && $(PAINTER) kernel pull --run $(RUN),$(PAINTER) train --data $(DATA) --preset $(PRESET) --run $(RUN) $(ARGS))

generate: $(VENV)/.ready  ## RUN -> RUN/images.zip: COUNT images of 256x256
	$(PAINTER) generate --run $(RUN) $(GIVEN_COUNT) $(ARGS)

# These two choose into a folder of their own, unless RUN says where.
CHOSEN = $(if $(filter command environment,$(firstword $(origin RUN))),$(RUN),runs/$@)
CHOOSE = $(PAINTER) generate --run $(CHOSEN) --model monet-dcgan --model paint256 --choose-from $(FROM) --count $(COUNT) --reference $(DATA) --features $(FEATURES)

best: $(VENV)/.ready  ## DATA -> runs/best: of FROM images of the models from noise the COUNT best, to submit
	$(CHOOSE) $(ARGS)

best-photos: $(VENV)/.ready  ## DATA, PHOTOS -> runs/best-photos: the same with translated photos among them
	$(CHOOSE) --model photo2monet --photos $(PHOTOS) $(ARGS)

score: $(VENV)/.ready  ## RUN -> RUN/score.json: MiFID against the paintings
	$(PAINTER) score --run $(RUN) --features $(FEATURES) $(ARGS)

package: $(VENV)/.ready  ## RUN/images.zip: check every image, write it in the submission's form
	$(PAINTER) package --run $(RUN) $(ARGS)

report: $(VENV)/.ready  ## RUN -> RUN/report.html: the run on one page
	$(PAINTER) report --run $(RUN) $(ARGS)

study: $(VENV)/.ready  ## STUDY, DATA -> runs/studies: many runs and their comparison
	$(PAINTER) study $(STUDY) --data $(DATA) $(if $(filter kaggle,$(ON)),--on kaggle --source $(SOURCE)) $(ARGS)

serve: $(VENV)/.ready  ## RUN -> a page to play with its generator, and an HTTP API
	$(PAINTER) serve --run $(RUN) $(ARGS)

runs: $(VENV)/.ready  ## a table of all runs and their scores
	$(PAINTER) runs $(ARGS)

kernel: $(VENV)/.ready  ## PRESET -> a kernel on Kaggle that trains RUN there
	$(KERNEL) $(ARGS)

watch: $(VENV)/.ready  ## the kernel of RUN: status, time, log, until it ends
	$(PAINTER) kernel watch --run $(RUN)

pull: $(VENV)/.ready  ## the kernel's output -> RUN
	$(PAINTER) kernel pull --run $(RUN)

submit: $(VENV)/.ready  ## RUN, or a shipped MODEL -> the competition, wherever it was trained
	$(PAINTER) submit $(if $(MODEL),--model $(MODEL),--run $(RUN)) $(ARGS)

leaderboard: $(VENV)/.ready  ## local scores beside public ones, ranks and ages
	$(PAINTER) leaderboard $(ARGS)

doctor: $(VENV)/.ready  ## credentials, rules, quota, submissions left, disk, device
	$(PAINTER) doctor

# One process more than there are cores, as tests wait for servers, browsers and other processes.
# Compiled sources are kept even where the environment forbids it: the tests start interpreters.
TESTERS = $(shell $(VENV)/bin/python -c "import os; print((os.cpu_count() or 1) + 1)")

test: $(VENV)/.dev-ready  ## the tests
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest --numprocesses $(TESTERS) --dist worksteal --durations 15 $(ARGS)

coverage: $(VENV)/.dev-ready  ## the tests, and which lines of the program they do not run
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest --numprocesses $(TESTERS) --dist worksteal --cov --cov-report term $(ARGS)

lint: $(VENV)/.dev-ready  ## formatting, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

check: lint test  ## lint and test: what CI runs

bench: bench-train bench-generate bench-translate bench-package bench-score bench-service  ## all speeds, as ratios to plain baselines in the same run

bench-train: $(VENV)/.dev-ready  ## images a second while training
	$(VENV)/bin/python -m benchmarks.training $(ARGS)

bench-generate: $(VENV)/.dev-ready  ## from noise to a checked zip of COUNT images, and the memory it takes
	$(VENV)/bin/python -m benchmarks.output generate --count $(COUNT) $(ARGS)

bench-translate: $(VENV)/.dev-ready  ## from photos to a zip
	$(VENV)/bin/python -m benchmarks.translation $(ARGS)

bench-package: $(VENV)/.dev-ready  ## the check of a zip of COUNT images
	$(VENV)/bin/python -m benchmarks.output package --count $(COUNT) $(ARGS)

bench-score: $(VENV)/.dev-ready  ## from IMAGES JPEG files to a FID, beside other programs
	$(VENV)/bin/python -m benchmarks.scoring --images $(IMAGES) $(ARGS)

bench-parts: $(VENV)/.dev-ready  ## which part of generating COUNT and scoring IMAGES is the slowest here
	$(VENV)/bin/python -m benchmarks.parts --count $(COUNT) --images $(IMAGES) $(ARGS)

bench-service: $(VENV)/.dev-ready  ## images a second over HTTP at 1, 8 and 32 clients, and the memory
	$(VENV)/bin/python -m benchmarks.service $(ARGS)

bench-machine: $(VENV)/.dev-ready  ## what a kernel of task bench measures, here: runs/bench/bench.md and bench.json
	$(VENV)/bin/python -m benchmarks.machine $(ARGS)

scale: $(VENV)/.dev-ready  ## what size costs: time and memory by images, resolution and batch
	$(VENV)/bin/python -m benchmarks.scale $(ARGS)

controls: $(VENV)/.dev-ready  ## photos, shipped models and more, scored under one protocol, on DATA
	$(VENV)/bin/python -m benchmarks.controls --data $(DATA) $(ARGS)

agreement: $(VENV)/.dev-ready  ## the same features and images through painter and four other programs
	$(VENV)/bin/python -m benchmarks.agreement $(ARGS)

compare: $(VENV)/.dev-ready  ## does this tree compute, byte for byte, what the commit REF computed?
	$(VENV)/bin/python -m benchmarks.compare $(REF)

reference: $(VENV)/.dev-ready  ## the code -> docs/reference, and the picture of the house
	$(VENV)/bin/python -m docs.generator

format: $(VENV)/.dev-ready  ## rewrite the sources in the common format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

LOCK = $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml
EXTRAS = --extra study --extra video --extra serve --extra offline

lock: $(VENV)/.dev-ready  ## resolve the declared ranges into requirements.lock and requirements-dev.lock
	$(LOCK) $(EXTRAS) --output-file requirements.lock > /dev/null
	$(LOCK) $(EXTRAS) --extra dev --constraint requirements.lock --output-file requirements-dev.lock > /dev/null
