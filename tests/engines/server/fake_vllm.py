#!/usr/bin/env python
"""Stands where vLLM's server would: takes its command line, answers from hashes."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.engines.server.simulated import FakeServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--served-model-name", nargs="+", required=True)
known, rest = parser.parse_known_args()
if "--wrong" in rest:
    sys.exit("ValueError: no such flag: --wrong")
gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
Path(os.environ["FAKE_VLLM_SAW"]).write_text(
    "\n".join([str(os.getpid()), *sys.argv, *os.environ, f"GPUS={gpus}"]), encoding="utf-8"
)
server = FakeServer(port=known.port, name=known.served_model_name[0])
server.also = known.served_model_name[1:]
server.start()
threading.Event().wait()
