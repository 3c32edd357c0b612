"""llama.cpp's own server with the small model, on a port of its choice: prints its address."""

from __future__ import annotations

import sys

from xllamacpp import CommonParams, Server

params = CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel = 4 * 2048, 4
params.port = int(sys.argv[2])
params.endpoint_metrics = True
server = Server(params)
print(server.listening_address, flush=True)  # noqa: T201
sys.stdin.read()  # until whoever started us closes it, or is gone
