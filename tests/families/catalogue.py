"""Model families: a chat template, a tokenizer, the tokens that end a turn, an architecture.

Templates with a file name are the originals in the installed TRL; those in a text here are ours and
do, in a few lines, what the original does that matters (Mistral's are not in TRL).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

NEMO = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.system = m['content'] + '\n\n' %}"
    "{% elif m['role'] == 'user' %}[INST]{% if loop.last %}{{ ns.system }}{% endif %}"
    "{{ m['content'] }}[/INST]{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.system = m['content'] + '\n\n' %}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' }}{% if loop.last %}{{ ns.system }}{% endif %}"
    "{{ m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
MAGISTRAL = (
    "{% macro text(content) %}{% if content is string %}{{ content }}{% else %}"
    "{% for part in content %}{% if part['type'] == 'thinking' %}"
    "[THINK]{{ part['thinking'] }}[/THINK]{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% endmacro %}{{ bos_token }}{% if messages[0]['role'] != 'system' %}"
    "[SYSTEM_PROMPT]First draft your thinking. Today is {{ strftime_now('%Y-%m-%d') }}."
    "[/SYSTEM_PROMPT]{% endif %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "[SYSTEM_PROMPT]{{ m['content'] }}[/SYSTEM_PROMPT]{% elif m['role'] == 'user' %}"
    "[INST]{{ m['content'] }}[/INST]{% else %}{{ text(m['content']) + eos_token }}{% endif %}"
    "{% endfor %}"
)
SEED = (
    "{% for m in messages %}{{ bos_token + m['role'] + '\n' }}"
    "{% if m['reasoning_content'] is defined %}"
    "{{ '<seed:think>' + m['reasoning_content'] + '</seed:think>' }}{% endif %}"
    "{{ m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"
)
COMMAND_A = (
    "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
    "{% if m['role'] == 'system' %}<|SYSTEM_TOKEN|>{{ m['content'] }}"
    "{% elif m['role'] == 'user' %}<|USER_TOKEN|>{{ m['content'] }}"
    "{% else %}<|CHATBOT_TOKEN|>{% if m['reasoning_content'] is defined %}"
    "<|START_THINKING|>{{ m['reasoning_content'] }}<|END_THINKING|>{% endif %}"
    "<|START_RESPONSE|>{{ m['content'] }}<|END_RESPONSE|>{% endif %}<|END_OF_TURN_TOKEN|>"
    "{% endfor %}{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
)

IM = ("<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
GEMMA_4 = ("<|turn>", "<turn|>", "<|channel>", "<channel|>")
COHERE = (
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>", "<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
)  # fmt: skip
MISTRAL_TOKENS = (
    "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]",
)  # fmt: skip


class Family(NamedTuple):
    """`tokens`: control tokens that are added where a tokenizer lacks them.

    `eos` is the tokenizer's; `ends` those that the generation configuration names; `end` the token
    that ends an answer.
    """

    name: str
    template: str
    tokenizer: str
    end: str
    eos: str
    ends: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    bos: str | None = None
    model: str = "llama"

    @property
    def text(self) -> str:
        if not self.template.endswith(".jinja"):
            return self.template
        import trl

        folder = Path(str(trl.__file__)).parent / "chat_templates"
        return (folder / self.template).read_text(encoding="utf-8")


def chatml(name: str, template: str, model: str, *tokens: str, eos: str = IM[1]) -> Family:
    return Family(name, template, "qwen3", IM[1], eos, (IM[1],), (*IM, *tokens), model=model)


THINK = ("<think>", "</think>")
DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
R1 = ("<｜User｜>", "<｜Assistant｜>", *THINK)

FAMILIES = (
    chatml("Qwen2.5", "qwen2_5.jinja", "qwen2"),
    chatml("Qwen2.5, base", "qwen2_5.jinja", "qwen2", eos="<|endoftext|>")._replace(
        ends=("<|endoftext|>",)
    ),
    chatml("Qwen2.5-VL", "qwen2_5_vl.jinja", "qwen2_5_vl"),
    chatml("Qwen3", "qwen3.jinja", "qwen3", *THINK),
    chatml("Qwen3-Instruct-2507", "qwen3_instruct_2507.jinja", "qwen3_moe", *THINK),
    chatml("Qwen3-VL", "qwen3_vl.jinja", "qwen3_vl", *THINK),
    chatml("Qwen3.5", "qwen3_5_think.jinja", "qwen3_5", *THINK),
    chatml("Qwen3.5, not thinking", "qwen3_5_nothink.jinja", "qwen3_5", *THINK),
    chatml("Qwen3.6", "qwen3_6.jinja", "qwen3_5", *THINK),
    chatml("Qwen3.8", "qwen3_8.jinja", "qwen3_5", *THINK),
    chatml("LFM2", "lfm2_v2.jinja", "lfm2"),
    chatml("LFM2.5", "lfm2_2_5_v2.jinja", "lfm2", *THINK),
    chatml("Nemotron 3 Nano", "nemotron_3_nano.jinja", "nemotron_h", *THINK),
    chatml("Nemotron 3 Super", "nemotron_3_super.jinja", "nemotron_h", *THINK),
    chatml("Nemotron 3 Ultra", "nemotron_3_ultra.jinja", "nemotron_h", *THINK),
    Family(
        "GLM-4.5", "glm4moe.jinja", "qwen3", "<|user|>", "<|endoftext|>",
        ("<|endoftext|>", "<|user|>", "<|observation|>"),
        ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", *THINK),
        model="glm4_moe",
    ),
    Family("Seed-OSS", SEED, "qwen3", "<seed:eos>", "<seed:eos>", ("<seed:eos>",),
           ("<seed:bos>", "<seed:eos>", "<seed:think>", "</seed:think>"), "<seed:bos>", "seed_oss"),
    Family("Llama 3", "llama3.jinja", "llama3_1", "<|eot_id|>", "<|end_of_text|>",
           ("<|end_of_text|>", "<|eot_id|>"), HEADERS, "<|begin_of_text|>"),
    Family("Llama 3.1", "llama3_1.jinja", "llama3_1", "<|eot_id|>", "<|eot_id|>",
           ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), HEADERS, "<|begin_of_text|>"),
    Family("Llama 3.2", "llama3_2.jinja", "llama3_1", "<|eot_id|>", "<|eot_id|>",
           ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), HEADERS, "<|begin_of_text|>"),
    Family("Muse Glimmer", "muse_glimmer.jinja", "llama3_1", "<|eot|>", "<|eot|>", ("<|eot|>",),
           ("<|start|>", "<|message|>", "<|eot|>", "<|eom|>"), "<|begin_of_text|>"),
    Family("Command R, Aya", "cohere.jinja", "llama3_1", COHERE[1], COHERE[1], (COHERE[1],), COHERE,
           "<|begin_of_text|>", "cohere"),
    Family("Command A, Aya 2", "cohere2.jinja", "llama3_1", COHERE[1], COHERE[1], (COHERE[1],),
           COHERE, "<|begin_of_text|>", "cohere2"),
    Family("Command A Reasoning", COMMAND_A, "llama3_1", COHERE[1], COHERE[1], (COHERE[1],),
           COHERE, "<|begin_of_text|>", "cohere2"),
    Family("Phi-3", "phi3.jinja", "llama2", "<|end|>", "<|endoftext|>",
           ("<|endoftext|>", "<|end|>"),
           ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<s>", "phi3"),
    Family("Phi-3.5", "phi3_5.jinja", "llama2", "<|end|>", "<|endoftext|>",
           ("<|endoftext|>", "<|end|>"),
           ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<s>", "phi3"),
    Family("Mistral 7B", MISTRAL, "llama2", "</s>", "</s>", ("</s>",), (), "<s>", "mistral"),
    Family("LLaVA-NeXT", "llava_next.jinja", "llama2", "</s>", "</s>", ("</s>",), (), "<s>",
           "llava_next"),
    Family("SmolVLM", "smolvlm.jinja", "llama2", "<end_of_utterance>", "<end_of_utterance>",
           ("<end_of_utterance>",), ("<end_of_utterance>", "<|im_start|>"), "<s>", "smolvlm"),
    Family("Idefics3", "idefics3.jinja", "llama3_1", "<end_of_utterance>", "<|eot_id|>",
           ("<|eot_id|>", "<end_of_utterance>"), ("<end_of_utterance>",), "<|begin_of_text|>",
           "idefics3"),
    Family("Mistral Nemo", NEMO, "tekken", "</s>", "</s>", ("</s>",), MISTRAL_TOKENS, "<s>",
           "mistral"),
    Family("Magistral", MAGISTRAL, "tekken", "</s>", "</s>", ("</s>",), MISTRAL_TOKENS, "<s>",
           "mistral3"),
    Family("DeepSeek V3", "deepseekv3.jinja", "deepseek_v3", DEEPSEEK[1], DEEPSEEK[1],
           (DEEPSEEK[1],), R1, DEEPSEEK[0], "deepseek_v3"),
    Family("DeepSeek R1 distilled", "deepseek_r1_distill.jinja", "deepseek_v3", DEEPSEEK[1],
           DEEPSEEK[1], (DEEPSEEK[1],), R1, DEEPSEEK[0], "qwen2"),
    Family("gpt-oss", "gptoss.jinja", "gptoss", "<|return|>", "<|return|>",
           ("<|return|>", "<|endoftext|>", "<|call|>"),
           ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"), None, "gpt_oss"),
    Family("Gemma, Gemma 2", "gemma.jinja", "gemma3", "<end_of_turn>", "<eos>",
           ("<eos>", "<end_of_turn>"), TURNS, "<bos>", "gemma2"),
    Family("Gemma 3", "gemma3.jinja", "gemma3", "<end_of_turn>", "<eos>",
           ("<eos>", "<end_of_turn>"), TURNS, "<bos>", "gemma3"),
    Family("Gemma 4", "gemma4_v5.jinja", "gemma3", "<turn|>", "<eos>", ("<eos>", "<turn|>"),
           GEMMA_4, "<bos>", "gemma4_text"),
    Family("Gemma 4, at its release", "gemma4_v2.jinja", "gemma3", "<turn|>", "<eos>",
           ("<eos>", "<turn|>"), GEMMA_4, "<bos>", "gemma4_text"),
)  # fmt: skip
