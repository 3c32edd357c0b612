"""Generated verdicts with the openai SDK: URL MODEL MAX_TOKENS < prompts.json > answers.json."""

import asyncio
import json
import sys
import time

from openai import AsyncOpenAI


async def main(url, model, max_tokens):
    client = AsyncOpenAI(base_url=url, api_key="none", timeout=1800)
    gate = asyncio.Semaphore(64)

    async def one(prompt):
        async with gate:
            made = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=max_tokens,
            )
        return made.choices[0].message.content or "", made.usage.completion_tokens

    prompts = json.load(sys.stdin)
    begun = time.monotonic()
    answers = await asyncio.gather(*map(one, prompts))
    json.dump({"seconds": time.monotonic() - begun, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
