# make repro   every table, figure and page        make test   the tests
# make what-if S="lambda_pure=0.3 seeds=[0, 1]"   the committed run with other settings;
#              AT=dlsa@cifar100_lt-full stops there, before tables and pages
# make bench   speed and memory                    make keep NAME=x   keep this run's pages
# make rehearse SCRATCH=/big/disk   the stages at iNaturalist 2018's true size, on noise;
#                   Table 2 on a GPU: ARGS="--benchmark places_lt --published --seeds 3"
# make check-data   what is wrong with the images that params.yaml names, in minutes; or
#                   with others: make check-data BENCHMARK=inat18 IMAGES="/data/my inat"
# make clean   drop what can be made again         make lock   renew requirements.lock
#
# The first call sets up .venv from requirements.lock (hashes checked); later calls do
# not. Inside an environment of your own, `dvc repro` and `pytest` do the same work.

SHELL := /bin/bash
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: repro checkout what-if test bench rehearse keep check-data clean lock
.DEFAULT_GOAL := repro

repro: checkout $(READY)
	@python -m replication.stages.what_if --check
	dvc repro
	@echo "Read reports/README.md"

checkout:  # DVC works in nothing else
	@test -e .git || { echo "make: expected a git checkout, found none; make one of" \
	    "a downloaded archive: git init && git add -A && git commit -m start" >&2; \
	    exit 2; }

export S AT
what-if: $(READY)
	@python -m replication.stages.what_if

test: $(READY)
	python -m ruff check .
	python -m pytest

bench: $(READY)
	python -m bench

rehearse: $(READY)
	python -m bench --rehearse '$(or $(SCRATCH),$(error make rehearse: expected SCRATCH=<folder with 20 GB>))' $(ARGS)

keep: $(READY)
	python -m replication.stages.keep $(NAME)

check-data: $(READY)
	python -m replication.stages.check_data $(if $(BENCHMARK),'$(BENCHMARK)') $(if $(IMAGES),'$(subst ','\'',$(IMAGES))')

clean:
	rm -rf outputs .resume .pytest_cache .ruff_cache .hypothesis

lock: $(READY)
	python -m pip install --quiet uv
	uv pip compile pyproject.toml --extra dev --constraint constraints.txt --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --no-header --upgrade --output-file requirements.lock

$(READY): requirements.lock
	@set -e; \
	for candidate in python3 python3.11 python3.12 python3.13 python; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "make: expected Python 3.11 or newer on the PATH, found none" >&2; exit 2; \
	fi; \
	echo "Setting up $(VENV) with $$($$chosen --version): a few minutes, once"; \
	$$chosen -m venv $(VENV); \
	$(VENV)/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $(READY)
