"""The chain of three calls with datatrove: URL ROWS FOLDER default|tuned|checkpoints."""

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter

ASKED = ("Criticise your answer.", "Write it again.")


async def chain(document, generate):
    talk = [{"role": "user", "content": document.text}]
    texts = [(await generate({"messages": talk})).text]
    for request in ASKED:
        talk = [
            *talk,
            {"role": "assistant", "content": texts[-1]},
            {"role": "user", "content": request},
        ]
        texts.append((await generate({"messages": talk})).text)
    return texts


def main(url, rows, folder, mode):
    config = {"tuned": {"max_concurrent_generations": 72, "max_concurrent_documents": 4096}}
    kept = {}
    if mode == "checkpoints":
        kept = {"checkpoints_local_dir": f"{folder}/checkpoints", "records_per_chunk": 50}
    runner = InferenceRunner(
        rollout_fn=chain,
        config=InferenceConfig(
            server_type="endpoint",
            model_name_or_path="sim",
            endpoint_url=url,
            **config.get(mode, {}),
        ),
        output_writer=JsonlWriter(
            f"{folder}/out", output_filename="${rank}_${chunk_index}.jsonl", compression=None
        ),
        **kept,
    )
    documents = [Document(text=f"Question {n}?", id=str(n)) for n in range(rows)]
    LocalPipelineExecutor(pipeline=[documents, runner], logging_dir=f"{folder}/logs").run()
    lines = [
        json.loads(line)
        for path in Path(folder, "out").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    whole = [line for line in lines if len(line["metadata"]["rollout_results"][0]) == 3]
    print(json.dumps({"rows": len(whole), "distinct": len({line["id"] for line in whole})}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
