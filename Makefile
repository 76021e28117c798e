# One list of commands: README, CI and people use these.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data/fsdd
SCENES := scenes?test=200&fewest=2&most=5&shapes=8&signs=2&size=64
export OMP_NUM_THREADS ?= 1

.PHONY: setup run fmt lint types test docs check bench
run: setup
	set -e; for name in sentiment_fusion image_text_relation harm_evaluation user_trust "clinical_dialogue -o cases=8 -o epochs=1 --seeds 1"; do $(BIN)/polymodal run $$name; done
	$(BIN)/polymodal run fine_alignment -o model=pocket-clip -o steps=0 -o data="$(SCENES)"
	$(BIN)/polymodal run model_merging -o vlm=local:pocket-lm -o llm=local:pocket-reasoner -o weight=0.5 -o data=examples/sums.jsonl
	@if [ -d "$(DATA)" ]; then $(BIN)/polymodal run sentiment_fusion -o data=$(DATA) -o protocol=speaker -o fusion=concat --seeds 1; \
	else echo "No real data at $(DATA): give yours with  make run DATA=PATH"; fi

setup: .venv/.nn
.venv/.nn: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch numpy  # torch first: nothing may replace it
	$(BIN)/pip install -q -c constraints.txt -e ".[nn,signals,ocr]"
	touch $@
.venv/.dev: .venv/.nn
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $@

test: .venv/.dev
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 15 --cov --cov-report= $(ARGS)
	$(BIN)/python tests/coverage_floor.py
check: lint types test
fmt: .venv/.dev
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
lint: .venv/.dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports
types: .venv/.dev
	$(BIN)/mypy
docs: .venv/.dev
	$(BIN)/python docs/generate.py
bench: .venv/.dev
	set -e; for file in $(filter-out bench/clock.py,$(wildcard bench/*.py)); do echo "== $$file"; $(BIN)/python $$file; done
