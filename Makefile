# Two targets for everyone: `make quickstart` and `make test`. Each sets up all it needs, then does its job.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/python

.PHONY: quickstart test lint types schema lock

quickstart: $(VENV)/.installed
	$(RUN) -m suites run quickstart
	$(RUN) -m analysis table quickstart
	$(RUN) -m analysis curves quickstart
	@echo
	@echo "Next: $(RUN) -m suites list      the other suites, and how large they are"
	@echo "      $(RUN) -m suites run dyna_maze"
	@echo "      README.md, \"Your own agent\"    to put a method of yours into the table"

test: $(VENV)/.installed-dev lint types
	$(RUN) -m pytest -n 2

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# A user's environment (`quickstart`) and a developer's (`test`, which has all of it).
# torch first and alone: its pinned version is the one whose CPU wheel is wanted, not the newest with CUDA
# bytecode is written for all of it at once, on every core; a package may hold files that are no Python 3
$(VENV)/.installed: pyproject.toml constraints.txt
	$(install_torch)
	$(RUN) -m pip install --quiet --no-compile -c constraints.txt -e .
	$(compile)
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(install_torch)
	$(RUN) -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	$(compile)
	touch $(VENV)/.installed $@

define install_torch
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "mbrl-bench needs Python 3.11 or later, found " + sys.version'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile -c constraints.txt torch
endef
compile = $(RUN) -m compileall -q -j 0 -x /tests/ $(VENV)/lib agents analysis baselines results suites >/dev/null 2>&1 || true

# Maintainers: pin every version anew (torch stays where it is: it decides bits), and regenerate the editors' schema.
# What only torch's CUDA builds need is left out: a machine with CUDA brings its own torch.
lock: $(VENV)/.installed-dev
	grep '^torch==' constraints.txt > $(VENV)/torch.txt
	$(BIN)/uv pip compile pyproject.toml -c $(VENV)/torch.txt --all-extras --python-version 3.11 --quiet \
	    --no-header --no-annotate -o constraints.txt
	sed -i -e 's/+cpu//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton/d' constraints.txt

schema: $(VENV)/.installed
	$(RUN) -m suites schema
