# make demo     a sentence becomes a video: demo/*.mp4, and a contact sheet beside it
# make test     the test suite but for its slowest tests: minutes, no PyTorch
# make app      the page in the browser that makes videos
# make verify   the long checks: hours, resumable; writes docs/verification.md;
#               CHECKS="page processes" runs those again
# make docs     these pages and the API reference as a site: build/docs/index.html
# make format   rewrite the code in the project's style
# make lint     check style without changing anything
#
# Each makes the environment it needs. VENV says where; PYTHON says with which
# interpreter, otherwise the first suitable one found is taken.

VENV ?= .venv
CANDIDATES = $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)

PROMPTS = "a large red circle moving right on a navy background" \
  "a small yellow triangle moving up on a black background"

.PHONY: demo app test verify docs format lint

demo: $(VENV)/installed
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m sample.generate $(PROMPTS) \
	  --output demo/moving-shapes.mp4

# The longest files first, so that no worker is left with one of them at the end.
test: $(VENV)/installed
	$(VENV)/bin/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile \
	  --no-loadscope-reorder -m "not slow" tests/train tests/sample tests

verify: $(VENV)/installed $(VENV)-page/installed
	PAGE_PYTHON=$(VENV)-page/bin/python $(VENV)/bin/python -m tests.verify $(CHECKS)

app: $(VENV)-page/installed
	$(VENV)-page/bin/python -m sample.app

# A warning is an error; then every link and what each page asks for is looked at.
docs: $(VENV)/docs-installed
	rm -rf build/docs docs/reference/generated
	JAX_PLATFORMS=cpu $(VENV)/bin/python -m sphinx -q -W --keep-going -c docs . build/docs
	$(VENV)/bin/python -m docs.site.check build/docs
	@echo "The first page is build/docs/index.html."

format: $(VENV)/installed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lint: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

# The stamp is written last, so an interrupted installation is taken up again. It lists
# what was installed.
$(VENV)/installed: requirements.txt constraints.txt
	@python=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	      >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "ltx-jax needs Python 3.11 or newer; tried: $(CANDIDATES)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 2; \
	fi; \
	echo "Installing into $(VENV) with $$("$$python" --version):" \
	  "1.2 GB on disk, one to five minutes without a word"; \
	"$$python" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check \
	  -r requirements.txt -c constraints.txt
	@$(VENV)/bin/python -m pip freeze >$@

# Gradio takes an older Pillow than constraints.txt has. Playwright is for its tests.
$(VENV)-page/installed: $(VENV)/installed
	@echo "Installing into $(VENV)-page: 1.6 GB on disk, minutes without a word"
	@$(VENV)/bin/python -m venv $(VENV)-page
	@grep -v '^pillow==' constraints.txt >$(VENV)-page/constraints.txt
	@$(VENV)-page/bin/python -m pip install -qq --disable-pip-version-check \
	  -r requirements.txt "gradio>=6.31" playwright -c $(VENV)-page/constraints.txt
	@$(VENV)-page/bin/python -m pip freeze >$@

# Beside what the tests need: the extra [docs] of pyproject.toml.
$(VENV)/docs-installed: $(VENV)/installed
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check \
	  "sphinx>=9.0.4" "myst-parser>=5.2.0" "furo>=2025.12.19" -c constraints.txt
	@$(VENV)/bin/python -m pip freeze >$@

# Likewise the extra [curate].
$(VENV)/curate-installed: $(VENV)/installed
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check \
	  "ray[data]>=2.60,<2.64" "opencv-python-headless>=5.0" -c constraints.txt
	@$(VENV)/bin/python -m pip freeze >$@
