#!/usr/bin/env bash
# What benchmarks/servers.py compares us with, each in an environment below a folder: install-peers.sh FOLDER.
# datatrove's own extra for inference asks for GPU builds of vLLM and SGLang, which are not needed.
set -euo pipefail
make_env() {
  ${PYTHON:-python3} -m venv "$1"
  "$1/bin/pip" install --quiet "${@:2}"
}
make_env "$1/datatrove" datatrove==0.10.1 orjson aiofiles aiosqlite httpx xxhash
make_env "$1/data-designer" data-designer==0.9.7
make_env "$1/openai" openai==3.57.0
