"""The chain of three calls with Data Designer: URL ROWS FOLDER default|tuned|checkpoints."""

import json
import os
import sys
from pathlib import Path

os.environ["NEMO_TELEMETRY_ENABLED"] = "false"

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

COLUMNS = {
    "answer": "{{ question }}",
    "critique": "{{ question }}\n{{ answer }}\nStep 1. Criticise this answer.",
    "revision": "{{ question }}\n{{ answer }}\n{{ critique }}\nStep 2. Write it again.",
}


def main(url, rows, folder, mode):
    tuned = {} if mode == "default" else {"max_parallel_requests": 72}
    designer = DataDesigner(
        artifact_path=folder,
        model_providers=[dd.ModelProvider(name="sim", endpoint=f"{url}/v1", api_key="none")],
    )
    limits = {"tuned": {"buffer_size": rows, "max_in_flight_tasks": 4096}}
    limits["checkpoints"] = {"buffer_size": 50}
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None, **limits.get(mode, {})))
    builder = dd.DataDesignerConfigBuilder(
        model_configs=[
            dd.ModelConfig(
                alias="sim",
                model="sim",
                provider="sim",
                skip_health_check=True,
                inference_parameters=dd.ChatCompletionInferenceParams(**tuned),
            )
        ]
    )
    questions = pd.DataFrame({"question": [f"Question {n}?" for n in range(rows)]})
    path = Path(folder, "questions.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    questions.to_parquet(path)
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(path)))
    for name, prompt in COLUMNS.items():
        builder.add_column(dd.LLMTextColumnConfig(name=name, prompt=prompt, model_alias="sim"))
    resume = dd.ResumeMode.IF_POSSIBLE if mode == "checkpoints" else dd.ResumeMode.NEVER
    made = designer.create(builder, num_records=rows, dataset_name="chain", resume=resume)
    table = made.load_dataset().dropna(subset=["revision"])
    print(json.dumps({"rows": len(table), "distinct": table["question"].nunique()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
