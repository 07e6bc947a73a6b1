"""What a model said, out of what it wrote: whole, and in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.core.answer_text import (
    Answer,
    AnswerStream,
    answer_in,
    control_tokens,
    opens_reasoning,
)

TOWER = "The tower is 330 metres tall."

# Reasoning, as models mark it; each is followed by an answer.
REASONING = [
    ("<think>\nIt says 330.\n</think>\n\n", 12),
    ("<Thinking>It says 330.</Thinking>", 12),
    ("<reasoning>It says 330.</reasoning>\n", 12),
    ("<thought>It says 330.</thought>\n", 12),
    ("<seed:think>It says 330.</seed:think>", 12),
    ("<think_fast>It says 330.</think_fast>", 12),
    ('<think type="long">It says 330.</think>', 12),
    ("<reflection>It says 330.</reflection>", 12),
    ("<thinking_process>It says 330.</thinking_process>", 12),
    ("<internal_monologue>It says 330.</internal_monologue>", 12),
    ("<inner_thoughts>It says 330.</inner_thoughts>", 12),
    ("<analysis>It says 330.</analysis>", 12),
    ("&lt;think&gt;It says 330.&lt;/think&gt;", 12),
    ("<|thinking|>It says 330.<|/thinking|>", 12),
    ("[THINK]It says 330.[/THINK]", 12),
    ("\u25c1think\u25b7It says 330.\u25c1/think\u25b7", 12),
    ("<|START_THINKING|>It says 330.<|END_THINKING|><|START_RESPONSE|>", 12),
    ("<|begin_of_thought|>It says 330.<|end_of_thought|>\n<|begin_of_solution|>", 12),
    ("<|inner_prefix|>It says 330.<|inner_suffix|>", 12),
    ("<|channel>thought\nIt says 330.\n<channel|>", 12),
    ("<unused94>thought\nIt says 330.<unused95>", 12),
    ("Here is my thought process:\nIt says 330.\n\nHere is my response:\n", 12),
    ("It says 330.</think>\n\n", 12),  # the prompt opened it
    ("<think><think>It says 330.</think>", 19),
    ("<think>It says</think><think>330.</think>", 11),
    ("<think>\n\n</think>\n\n", 0),
    ("<|channel|>analysis<|message|>It says 330.<|end|>"
     "<|start|>assistant<|channel|>final<|message|>", 12),
    ("<|start|>assistant<|channel|>commentary to=search<|constrain|>json<|message|>It says 330."
     "<|call|><|channel|>final<|message|>", 12),
    ("analysisIt says 330.assistantfinal", 34),
]  # fmt: skip
# What stands behind an answer and is none of it.
BEHIND = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<turn|>",
    "<|return|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<eos>",
    "<pad><pad><pad>",
    "[INST] How wide is it? [/INST]",
    "<|im_end|>\n<|im_start|>user\nHow wide is it?<|im_end|>",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHow wide is it?",
    "\n\nUser: How wide is it?\nAssistant: 125 metres.",
    "\nHuman: How wide is it?",
    "\n\n**User:** Tell me its width.\n\n**Assistant:** 125 metres.",
    "\n\n### User:\nTell me its width.\n\n### Assistant:\n125 metres.",
    "\n\nUser: Thanks!",
    " User: How wide? Assistant: 125 metres.",
    "\n\n### Instruction:\nTell me its width.",
    "\nuser\nHow wide is it?\nassistant\n125 metres.",
    "assistant\n\nThe tower is tall.",
    "\n\nQuestion: How wide is it?\nAnswer: 125 metres.",
    "\n\nQ: How wide is it?\n\nA: 125 metres.",
    "\n\nBenutzer: Wie breit ist er?\nAssistent: 125 Meter.",
    "\n\n\u7528\u6237\uff1a\u5b83\u6709\u591a\u5bbd\uff1f\n\u52a9\u624b\uff1a125 \u7c73\u3002",
    "\n\nAssistant: The tower is tall.",
    "\n\nHuman: Tell me more.\nBe brief.",
    " ### Human: How wide?### Assistant: 125 metres.",
    "\n\nQuestion 2: How wide is it?\nAnswer 2: 125 metres.",
    "\n\n\u8cea\u554f\uff1a\u5e45\u306f\uff1f\n\u56de\u7b54\uff1a125",
    "\n<tool_call>{}</tool_call>",
]
# What stands before an answer and is none of it.
BEFORE = [
    "<s>",
    "<|im_start|>assistant\n",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<start_of_turn>model\n",
    "<|assistant|>\n",
    "[/INST] ",
    "assistant\n\n",
    "Assistant: ",
    "### Response:\n",
    "<|start|>assistant<|message|>",
]
# Answers as they are.
PLAIN = [
    TOWER,
    "330 m",
    "The roles are:\nUser: can read.\nAdmin: can write.",
    "Admin: can write.\n\nUser: can read.",
    "The roles are:\nsystem\nuser\nassistant",
    "The roles are these\nsystem\nuser\nassistant",
    "Set it in the file.\n\nuser: root",
    "Qwen3 wraps its reasoning in `<think>` and `</think>`.",
    "It wraps its reasoning in <think> tags.",
    'A turn ends with "<|im_end|>", always.',
    "Its special tokens are <pad>, <unk> and <eos>.",
    "Qwen writes <think> and </think>, then the answer.",
    "The [INST] and [/INST] markers surround what the user says.",
    "Use it so:\n```\n<think>\n```\nand no other.",
    'Call `tokenizer.encode("<|im_end|>")`.',
    "The price is <s>20</s> 10 euros.",
    "x <| f |> g",
    "a < b and c > d",
    "I think that it is 330. My reasoning: the passage says so.",
    "analysis of variance compares means.",
    "[1] The tower is 330 metres tall.",
    '{"say": "<think>x</think></s>\\n\\nUser: y?"}',
    '["<|im_end|>"]',
    "The question is: How tall? The answer is: 330 m.",
    "It has two parts: a Q: and an A: column.",
    "He asked the user: who is there?",
    "It is agreed.\n\nUser: a person.\nProvider: a company.",
    "The rate is 5 %.\n\nNote: it may change.",
    "Human: a person. Machine: a thing.",
    "- item\n- User: the one who asks",
    "",
]


@pytest.mark.parametrize(("reasoning", "chars"), REASONING)
def test_reasoning_is_no_answer_and_its_length_is_told(reasoning: str, chars: int) -> None:
    found = answer_in(reasoning + TOWER)
    assert (found.text, found.reasoning_chars) == (TOWER, chars)


@pytest.mark.parametrize(
    "written",
    [
        "<think>The tower is 330 metres tall.",
        "<think>The tower</thinking",
        "The tower is 330 metres tall.</think>",
        "<|channel|>analysis<|message|>The tower is 330 metres tall.",
        "analysisThe tower is 330 metres tall.",
        "<think>The tower is 330 metres tall.</think>\n<|im_end|>",
    ],
)
def test_nothing_is_left_of_reasoning_alone(written: str) -> None:
    found = answer_in(written)
    assert found.text == ""
    assert found.reasoning_chars > 0


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("answer", [TOWER, "330 metres", "- 330 m\n- 1,083 ft"])
def test_what_comes_behind_an_answer_is_cut(answer: str, behind: str) -> None:
    if behind.startswith(("assistant", " User")) and not answer.endswith("."):
        return  # glued to the end of a sentence only
    assert answer_in(answer + behind) == Answer(answer, 0, ended=True)


@pytest.mark.parametrize("before", BEFORE)
def test_what_comes_before_an_answer_is_cut(before: str) -> None:
    assert answer_in(before + TOWER) == Answer(TOWER)


@pytest.mark.parametrize("answer", PLAIN)
def test_an_answer_stays_as_it_is(answer: str) -> None:
    assert answer_in(answer) == Answer(answer)
    assert answer_in(f"<think>x</think>\n{answer}") in (Answer(answer, 1), Answer(answer, 0))


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("<think>x</think><answer>330 m</answer>", "330 m"),
        ("<answer>\n330 m\n</answer> Done.", "330 m"),
        ("<final_answer>330 m", "330 m"),
        ("330 m<think>or is it?", "330 m"),
        ("<|im_end|>\n<|im_start|>user\nHow wide?", ""),
        ("<|im_start|>user\nHow wide?", ""),
        ("330 m<|im_e", "330 m"),
        ("It is <|begin_of_box|>330 m<|end_of_box|>.", "It is 330 m."),
        ("<tool_call>{}</tool_call>", ""),
        ("330 m </think", "330 m"),
        ('<think>x</think>{"a": 1}<|im_end|>', '{"a": 1}'),
        ("It is 330<unk>m tall.", "It is 330<unk>m tall."),
    ],
)
def test_what_else_models_write(written: str, answer: str) -> None:
    assert answer_in(written).text == answer


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|Assistant|><think>", "<think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|im_start|>assistant\n", ""),
        ("", ""),
    ],
)
def test_a_template_that_opens_reasoning_is_known_by_its_end(prompt: str, opening: str) -> None:
    assert opens_reasoning(prompt) == opening


def test_control_tokens_are_found_wherever_they_stand() -> None:
    text = "A turn ends with `<|im_end|>`; [INST] and </s> are others, <b> is none."
    assert control_tokens(text) == ["<|im_end|>", "[INST]", "</s>"]


PARTS = [*PLAIN, *BEHIND, *BEFORE, *(text for text, _ in REASONING), "\n", " ", "<", "</", "User"]


@given(st.lists(st.sampled_from(PARTS), max_size=5), st.data())
def test_a_stream_gives_the_answer_in_pieces_of_any_size(
    parts: list[str], data: st.DataObject
) -> None:
    written = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=12)))
    stream = AnswerStream()
    shown = [
        stream.add(written[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)
    ]
    rest, answer = stream.end()
    assert answer == answer_in(written)
    told = "".join([*shown, rest])
    assert told == answer.text or not answer.text.startswith("".join(shown))


@pytest.mark.parametrize("before", ["", *(text for text, _ in REASONING if text[0] in "<[\u25c1")])
@pytest.mark.parametrize("behind", ["", *BEHIND[:13]])
def test_a_reader_sees_nothing_but_the_answer_grow(before: str, behind: str) -> None:
    stream = AnswerStream()
    shown = [stream.add(character) for character in before + TOWER + behind]
    rest, answer = stream.end()
    assert "".join([*shown, rest]) == answer.text == TOWER
    assert len([piece for piece in shown if piece]) > 8


def test_a_stream_may_begin_within_the_reasoning() -> None:
    stream = AnswerStream("<think>")
    assert stream.add("It says 330.") == ""
    assert stream.add("</think>\n" + TOWER + " ") == TOWER
    assert stream.end() == ("", Answer(TOWER, 12))


@given(st.lists(st.sampled_from(PARTS), max_size=5))
def test_no_answer_has_more_to_be_taken_out(parts: list[str]) -> None:
    answer = answer_in("".join(parts)).text
    assert answer_in(answer).text == answer
