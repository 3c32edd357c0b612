"""Answers made for the tests: plain sentences in two languages, each another one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ENGLISH = {
    "noun": "garden bridge kettle letter window market river teacher engine ladder harbour song "
    "village blanket painter compass orchard mirror station lantern basket farmer island recipe "
    "carpet novel museum tunnel bakery pencil meadow theatre cousin sailor lamp",
    "adjective": "old quiet narrow bright heavy wooden gentle dusty cheerful broken distant green "
    "early smooth crowded small honest rusty warm careful",
    "verb": "crosses follows repairs describes borrows measures paints opens carries answers "
    "visits remembers builds sells studies lights covers guards",
    "place": "near behind under beside above inside around before",
}
_CHINESE = {
    "noun": "花园 大桥 水壶 书信 窗户 市场 河流 教师 机器 梯子 港口 歌曲 村庄 毛毯 画家 果园 镜子 "
    "车站 灯笼 篮子 农民 岛屿 菜谱 地毯 小说 博物馆 隧道 面包店 铅笔 草地 剧院 表弟 水手",
    "adjective": "古老 安静 狭窄 明亮 沉重 温和 快乐 遥远 绿色 平滑 拥挤 诚实 温暖 仔细 新鲜",
    "verb": "穿过 跟随 修理 描述 借来 测量 画出 打开 带走 回答 参观 记得 建造 卖掉 研究",
    "place": "旁边 后面 下面 上方 里面 周围 附近 对面",
}
ENGLISH = {kind: words.split() for kind, words in _ENGLISH.items()}
CHINESE = {kind: words.split() for kind, words in _CHINESE.items()}


def english(rng: random.Random, sentences: int = 5) -> str:
    """Plain sentences about nothing; no run of five words is in many of them."""
    return " ".join(_english(rng) for _ in range(sentences))


def _english(rng: random.Random) -> str:
    pick = {kind: lambda kind=kind: rng.choice(ENGLISH[kind]) for kind in ENGLISH}
    noun, adjective = pick["noun"], pick["adjective"]
    return (
        f"The {adjective()} {noun()} {pick['verb']()} a {adjective()} {noun()} "
        f"{pick['place']()} the {noun()} of {noun()} and {noun()}."
    )


def chinese(rng: random.Random, sentences: int = 5) -> str:
    """The same in Chinese."""
    return "".join(_chinese(rng) for _ in range(sentences))


def _chinese(rng: random.Random) -> str:
    def pick(kind: str) -> str:
        return rng.choice(CHINESE[kind])

    kinds = ["adjective", "noun", "verb", "adjective", "noun", "place", "noun"]
    return "".join(pick(kind) for kind in kinds) + "。"


WRITERS = {"en": english, "zh": chinese}


def rows(language: str, count: int = 300, seed: int = 1) -> list[dict[str, Any]]:
    """Rows with a prompt and an answer, helpful ones, in both splits."""
    rng = random.Random(seed)
    write = WRITERS[language]
    return [
        {
            "id": f"r{n}",
            "prompt": f"{write(rng, 1)} {n}",
            "response": write(rng),
            "prompt_kind": "helpful",
            "split": "test" if n % 10 == 9 else "train",
        }
        for n in range(count)
    ]


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
