# VM-Enter Lab. `make help` lists the targets. Everything happens inside the checkout, in .venv.

PYTHON ?=
PY     := .venv/bin/python
RUFF   := $(PY) -m ruff
CONFIG := --config lib/pyproject.toml
PYTEST := $(PY) -m pytest -c tests/pytest.ini --rootdir .
NBVAL  := --nbval --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with tests/nbval.cfg
COVERAGE := COVERAGE_RCFILE=lib/pyproject.toml $(PY) -m coverage
JOBS   ?= 3
KERNELS ?= $(VMENTER_KERNELS)
LEARNERS ?= 3
SITE   := $(wildcard tests/course/test_site*.py tests/browser/test_site*.py tests/browser/test_slides*.py)
FUZZ   ?= 10000
PORT   ?= 8000
TAB_PINS := $(PY) -m uv pip compile --quiet --upgrade --no-annotate --no-emit-index-url --generate-hashes \
	--custom-compile-command 'make pins'
TAB_UNUSED := jedi parso jupyterlab-widgets widgetsnbextension

# Tests and learners start many Pythons: each would compile the library anew where a machine says not to keep that.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup tools lab test lint type unit site-test nbval coverage fuzz hub-test notebooks objects records images address slides \
	site tab tab-serve tab-test format bench hooks artefacts release pins as-wasm clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup:  ## make .venv with the packages that the course needs, if that has not been done
	@PYTHON="$(PYTHON)" sh .ci/setup .venv requirements.txt

tools:  ## the same, and add what the tests and all other targets need
	@PYTHON="$(PYTHON)" sh .ci/setup .venv requirements.txt tests/requirements.txt

lab: setup  ## set up what the course needs, and open your own copies of the course in JupyterLab
	@$(PY) -m vmenter lab $(LAB_ARGS)

test: tools  ## set everything up and run the tests of the course on the desktop
	@$(MAKE) --no-print-directory -j $(JOBS) lint type
	@$(MAKE) --no-print-directory unit nbval

lint: tools  ## look for what ruff, Biome and tsc know to be wrong or untidy, and for misspelt words
	@$(RUFF) check $(CONFIG) lib tests .hub .ci
	@$(RUFF) format $(CONFIG) --check lib tests .hub .ci
	@.venv/bin/lint-imports --no-logo --no-cache lib/pyproject.toml
	@$(PY) tests/tools/js.py lint
	@$(PY) tests/tools/spell.py

type: tools  ## check the types
	@$(PY) -m mypy --config-file lib/pyproject.toml lib/vmenter

unit: tools  ## run the tests of the library, the command line and the widgets
	@$(PY) tests/tools/js.py test
	@$(PYTEST) -n $(JOBS) $(addprefix --ignore ,tests/tab tests/release $(SITE)) tests

site-test: tools  ## build site and slides and test them, in a real browser too
	@$(PYTEST) -n $(JOBS) $(SITE)

nbval: tools  ## run every notebook and compare each output with the one committed
	@VMENTER_PROGRESS=off VMENTER_REVEAL=1 $(PYTEST) -n $(JOBS) $(NBVAL) notebooks

coverage: tools  ## run the tests that need no browser; tell which lines and branches of the library none of them reaches
	@$(COVERAGE) erase
	@$(COVERAGE) run -m pytest -c tests/pytest.ini --rootdir . -n $(JOBS) --ignore tests/browser --ignore tests/tab --ignore tests/release tests
	@$(COVERAGE) combine --quiet
	@$(COVERAGE) report --skip-covered

fuzz: tools  ## try FUZZ=10000 bad inputs of all kinds (`make test` tries 2,000) and every answer to every exercise
	@VMENTER_FUZZ=$(FUZZ) $(PYTEST) -n $(JOBS) tests/code/test_damage.py tests/kernels/test_inspect_damage.py \
		tests/kernels/test_altered_modules.py tests/kernels/test_unseen_modules.py \
		tests/kernels/test_packages.py tests/kernels/test_find.py tests/cli/test_bad_input.py tests/course/exercises

hub-test:  ## fill a real JupyterHub with LEARNERS=3 who work at once, and then do what must not be done
	@PYTHON="$(PYTHON)" sh .hub/setup
	@cd tests && ../.hub/venv/bin/python -m hub --learners $(LEARNERS)

notebooks: tools  ## run every notebook anew and store it as it is committed
	@$(PY) tests/tools/run_notebooks.py notebooks/*.ipynb

objects: setup  ## assemble the lab's sources anew
	@$(PY) -c "from vmenter.patching.lab import build_lab; build_lab()"

records: setup  ## record anew what notebooks 09 and 10 show of the real kernels in KERNELS
	@$(PY) tests/tools/record_beyond.py "$(KERNELS)"

images: setup  ## draw the pictures of README and notebooks anew, those that are out of date
	@$(PY) -m vmenter.course.pictures

address: setup  ## write where the course is published (ADDRESS=https://… HOMEPAGE=https://…) wherever it is told
	@$(PY) -m vmenter.course.address_text --address "$(ADDRESS)" --homepage "$(HOMEPAGE)"

slides: setup  ## make slides with notes, handouts and the answer key, in build/slides
	@$(PY) -m vmenter.course.slides

site: setup  ## build the course as pages that need no kernel, in build/site
	@$(PY) -m vmenter.course.site

tab: tools  ## build the course as static files that run in a browser's tab, in build/tab
	@$(PY) -m vmenter.course.tab

tab-serve: setup  ## serve build/tab on this machine alone, at PORT=8000
	@$(PY) -m vmenter.course.tab.serve --port $(PORT)

tab-test: tab  ## build the tab and test all of it in a real browser: notebooks, exercises, views, offline, updates
	@$(PYTEST) -n $(JOBS) tests/tab

format: tools  ## put the code into the house's form
	@$(RUFF) check $(CONFIG) --fix-only --quiet lib tests .hub .ci
	@$(RUFF) format $(CONFIG) lib tests .hub .ci
	@$(PY) tests/tools/js.py format

bench: tab  ## measure: loading, patching, VM-Enters a second, the audit, inspect (of PACKAGE, too), click to paint, the site, the tab
	@$(PY) tests/bench.py
	@echo
	@$(PY) tests/bench_machine.py
	@echo
	@$(PY) tests/bench_audit.py
	@echo
	@$(PY) tests/bench_commands.py $(PACKAGE)
	@echo
	@$(PY) tests/bench_frames.py
	@echo
	@$(PY) tests/bench_views.py
	@echo
	@$(PY) tests/bench_site.py
	@echo
	@$(PY) tests/bench_tab.py
	@echo
	@$(PY) tests/bench_visitors.py

hooks: tools  ## check every commit before it is made (pre-commit, with the tools of .venv)
	@$(PY) -m pre_commit install

artefacts: tab  ## pack what a release has, in build/release: course, wheel, site, tab, slides, sources; and use each of them
	@cd tests && ../$(PY) -m tools.artefacts
	@$(PYTEST) tests/release

release: tools  ## check that all is ready for a release, pack and try it, and tag it with its changelog entry
	@$(PY) tests/tools/release.py check "$(VERSION)"
	@$(MAKE) --no-print-directory artefacts
	@$(PY) tests/tools/release.py tag "$(VERSION)"

pins: tools  ## refresh the pins of course and tests to the newest versions that fit lib/pyproject.toml
	@$(PY) tests/tools/pins.py
	@sed "/^-e/d" requirements.txt >.venv/pins.txt
	@$(TAB_PINS) --python-version 3.14 --python-platform wasm32-pyodide2024 --constraint .venv/pins.txt \
		$(addprefix --no-emit-package=,$(TAB_UNUSED)) .tab/wheels.in -o .tab/wheels.txt
	@$(TAB_PINS) --python-version 3.11 --no-deps .tab/tools.in -o .tab/tools.txt

as-wasm: tools  ## build the tab's assembler anew from Debian's source (ten minutes), and compare it with the one committed
	@$(PY) tests/tools/as_wasm.py

clean:  ## remove what the targets made, .venv included
	@rm -rf .venv .venv.new .venv.old .hub/venv .hub/venv.new .hub/venv.old .hub/node_modules tests/js/node_modules .tab/node_modules build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find lib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
