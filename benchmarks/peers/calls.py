"""Calls, so many at once: cai|openai URL CALLS FLIGHT; prints milliseconds of CPU per call."""

import asyncio
import resource
import sys


async def our_call(url):
    from cai.engines.server.openai import OpenAIEngine
    from cai.records import Sampling, user

    engine = OpenAIEngine([f"{url}/v1"], "sim")
    await engine.start()

    async def one(n):
        sampling = Sampling(temperature=1, max_tokens=64, seed=n)
        return (await engine.generate([user(f"Question {n}?")], sampling)).text

    return one, engine.close


async def sdk_call(url):
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=600)

    async def one(n):
        messages = [{"role": "user", "content": f"Question {n}?"}]
        made = await client.chat.completions.create(
            model="sim", messages=messages, temperature=1, max_tokens=64, seed=n
        )
        return made.choices[0].message.content

    return one, client.close


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(who, url, calls, flight):
    one, close = await {"cai": our_call, "openai": sdk_call}[who](url)
    numbers = iter(range(8 + calls))

    async def worker():
        for n in numbers:
            await one(n)

    for _ in range(8):
        await one(next(numbers))
    before = cpu()
    await asyncio.gather(*(worker() for _ in range(flight)))
    print((cpu() - before) / calls * 1e3)
    await close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
