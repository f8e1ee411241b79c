# Few verbs. Each sets itself up; nothing but Python >= 3.11 and, for `test`, Debian's apt is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CACHE := .cache/consul
CONSUL := $(CACHE)/usr/bin/consul

# The tests start hundreds of processes: what one has compiled the next one reads.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test chaos soak check bench every-byte model image-steps docs lock clean

demo: $(VENV)/.ready  ## A sample shop with a fault, repaired in front of you (FAULT=dead-backend).
	@$(BIN)/consulguard demo $(if $(FAULT),--fault $(FAULT))

# Most tests wait for servers: several at once keep two cores busy. One file stays on one worker, with its servers.
# The end-to-end ones come last, with less beside them. What is idle goes to ten minutes of the soak, which run beside the
# others from the beginning. The scenes of chaos are `make chaos`, ten more minutes. TESTS=path runs only those and no
# soak, ARGS goes to pytest.
PYTEST = CONSULGUARD_CONSUL=$(CURDIR)/$(CONSUL) CONSULGUARD_REQUIRE_REAL=1 $(BIN)/pytest --dist loadfile $(ARGS)

SOAK = env CONSULGUARD_CONSUL=$(CURDIR)/$(CONSUL) $(BIN)/python -m tests.chaos.soak

test: $(VENV)/.ready $(CONSUL)  ## All tests, against real servers. A missing one fails.
	@bash scripts/install-test-tools.sh
ifdef TESTS
	$(PYTEST) -n 2 $(TESTS)
else
	bash scripts/beside.sh .cache/soak.log $(SOAK) --minutes 10 --seed 7 -- sh -ec '\
	  $(PYTEST) -n 4 --ignore=tests/e2e --ignore=tests/chaos; \
	  $(PYTEST) -n 3 tests/e2e tests/chaos/test_check.py'
endif

chaos: $(VENV)/.ready $(CONSUL)  ## The scenes of the chaos suite.
	@bash scripts/install-test-tools.sh
	$(PYTEST) -n 2 tests/chaos

# MINUTES, SEED; see docs/chaos.md. A run prints its seed first.
soak: $(VENV)/.ready $(CONSUL)  ## Faults at random over three replicas under load, and a judge at the end.
	@bash scripts/install-test-tools.sh
	$(SOAK)

check: $(VENV)/.ready  ## Lint, types, import contract, docs made from code.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/make_docs.py --check
	$(BIN)/consulguard playbook lint playbooks

bench: $(VENV)/.ready $(CONSUL)  ## The figures of the docs.
	CONSULGUARD_CONSUL=$(CURDIR)/$(CONSUL) $(BIN)/python -m bench

every-byte: $(VENV)/.ready  ## Every byte of a small journal flipped, and every cut: some minutes.
	CONSULGUARD_EVERY_BYTE=1 $(BIN)/pytest tests/shell/journal/test_every_byte.py

# STEPS, JOBS (processes), MINUTES (at most), SEED; see docs/promises.md.
model: $(VENV)/.ready  ## The model of the safety core, for about a million steps.
	$(BIN)/python -m tests.model

image-steps: $(VENV)/.ready  ## The image's build, step by step, without a container engine.
	CONSULGUARD_IMAGE=1 $(BIN)/pytest tests/image

docs: $(VENV)/.ready  ## Write the parts of docs/ that are made from code.
	$(BIN)/python scripts/make_docs.py

lock: $(VENV)/.ready  ## What the image is built from, with exact versions and checksums: after a change of the dependencies.
	bash scripts/lock-image.sh

clean:
	rm -rf $(VENV) .cache build dist *.egg-info

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(CONSUL): scripts/install-consul.sh
	bash scripts/install-consul.sh $(CACHE)
