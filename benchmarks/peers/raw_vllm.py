"""vLLM's engine given all calls of a run: MODEL CONTEXT BLOCK < calls.json; prints seconds."""

import json
import sys
import time

from vllm import LLM, SamplingParams


def main(model, context, block):
    calls = json.load(sys.stdin)
    # As the server of a run is started (cai/engines/server/vllm.py).
    engine = LLM(
        model=model,
        enforce_eager=True,
        enable_prefix_caching=True,
        enable_chunked_prefill=False,
        max_model_len=context,
        max_num_batched_tokens=context,
        block_size=block,
        disable_log_stats=True,
    )
    tokenizer = engine.get_tokenizer()
    prompts, sampling = [], []
    for call in calls:
        goes_on = call["messages"][-1]["role"] == "assistant"
        text = tokenizer.apply_chat_template(
            call["messages"],
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        prompts.append({"prompt_token_ids": ids})
        written = call["tokens"]
        sampling.append(
            SamplingParams(
                temperature=call["temperature"],
                seed=call["seed"],
                max_tokens=written,
                min_tokens=written,
                ignore_eos=True,
                logprobs=2 if written == 1 else None,
            )
        )
    engine.generate([{"prompt_token_ids": [1, 2, 3]}], SamplingParams(max_tokens=2), use_tqdm=False)
    begun = time.monotonic()
    made = engine.generate(prompts, sampling, use_tqdm=False)
    seconds = time.monotonic() - begun
    written = sum(len(one.outputs[0].token_ids) for one in made)
    read = sum(len(prompt["prompt_token_ids"]) for prompt in prompts)
    print(json.dumps({"seconds": seconds, "read": read, "written": written}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
