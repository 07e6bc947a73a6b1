"""The answer in a model's output: the text that is meant for the reader.

A model writes more than its answer: reasoning, control tokens of its chat template, and invented
turns of a conversation. Servers remove only some of that. Every engine passes its text through this
module, so that a reader, a judge and a row get the same answer.

Marks in quotes or in code ("the `<think>` tag") belong to the answer and stay.
"""

import json
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass

# The tags that models put around their reasoning: <think> (DeepSeek, Qwen), <seed:think>, [THINK]
# (Mistral), <|START_THINKING|> (Cohere), <|begin_of_thought|> (Sky), <|inner_prefix|> (Apertus),
# <|channel>thought (Gemma), <unused94>thought (MedGemma), and a line of Granite's.
_TAG = (
    r"(?:[a-z]{2,12}[:_])?(?:think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratch_?pad|cot"
    r"|chain_of_thought|(?:inner|internal)_?(?:monologue|thoughts?))(?:_[a-z_]{1,40})?"
)
_OPENING = (
    rf"(?:<|&lt;){_TAG}(?:\s[^<>\n]{{0,80}})?(?:>|&gt;)|\[THINK\]|\u25c1think\u25b7"
    r"|<\|(?:START_THINKING|begin_of_thought|inner_prefix|think(?:ing)?|reasoning|thought)\|>"
    r"|<\|channel>(?:thought|analysis)\b|<unused94>(?:thought\b)?"
    r"|\A\s*here(?:'s| is) my thought process:"
)
_CLOSING = (
    rf"(?:<|&lt;)/{_TAG}\s*(?:>|&gt;)|\[/THINK\]|\u25c1/think\u25b7"
    r"|<\|(?:END_THINKING|end_of_thought|inner_suffix|/think(?:ing)?|/reasoning|/thought)\|>"
    r"|<channel\|>|<unused95>|\bhere(?:'s| is) my response:"
)
_REASONING = re.compile(f"(?P<opening>{_OPENING})|(?P<closing>{_CLOSING})", re.IGNORECASE)
# Harmony, as gpt-oss speaks it: <|channel|>analysis<|message|>..., and what is left of it where
# somebody took the control tokens out.
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]{0,60}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>", re.IGNORECASE
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_CHANNELS = re.compile(r"\A\s*analysis(?=[A-Z\"'])")
_BARE_FINAL = re.compile(r"assistant(?:commentary.{0,200}?assistant)?final(?=\S)", re.DOTALL)

#: Control tokens of chat templates. A trainer's tokenizer reads them as such, wherever they stand.
CONTROL = re.compile(
    r"<[|\uff5c][^|\uff5c<>\s]{1,40}[|\uff5c]>|<\|[a-z_]{2,30}>|<[a-z_]{2,30}\|>"
    r"|</?(?:start|end)_of_(?:turn|text|utterance|image)>|<(?:[be]os|eo[dpmah]|pad|unk)>"
    r"|<(?:extra_id_|unused|reserved_token_?|special_)\d{1,4}>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS))\]|\[(?:gMASK|EOS|BOS|PAD)\]"
    r"|<</?SYS>>|</?s>|</?tool_(?:call|response)s?>",
    re.IGNORECASE,
)
# Around an answer, or the main part of it: nothing ends with these.
_BOX = re.compile(r"<\|(?:begin|end)_of_(?:box|answer|solution)\|>")
#: It stands for a character that is lost: what follows still belongs to the answer.
_LOST = "<unk>"
# What a cut by the token limit leaves of one, and of a tag.
_HALF = re.compile(
    r"(?:(?:<[|\uff5c][^|\uff5c<>\s]{0,40}+|</?(?:think|reason|thought)\w{0,8}+)\s*+)++\Z"
)

_USER = (
    r"user|human|benutzer|nutzer|usuario|utilisateur|utente|\u7528\u6237|\u7528\u6236"
    r"|\u30e6\u30fc\u30b6\u30fc|\uc0ac\uc6a9\uc790"
    r"|\u043f\u043e\u043b\u044c\u0437\u043e\u0432\u0430\u0442\u0435\u043b\u044c"
)
_ASSISTANT = (
    r"assistant|ai|chatbot|assistent|asistente|assistente|\u52a9\u624b"
    r"|\u30a2\u30b7\u30b9\u30bf\u30f3\u30c8|\uc5b4\uc2dc\uc2a4\ud134\ud2b8"
    r"|\u0430\u0441\u0441\u0438\u0441\u0442\u0435\u043d\u0442"
)
_MARKUP = r"(?:#{1,6}[^\S\n]*)?[*_\[<]{0,2}"
_COLON = r"[*_\]>]{0,2}[^\S\n]*[:\uff1a][*_]{0,2}"
# A turn of the user's. What follows says whether it is one.
_TURN = re.compile(
    rf"(?:^|(?<=[.!?\u3002\uff01\uff1f])[^\S\n]+)(?P<label>{_MARKUP}(?:{_USER}){_COLON})",
    re.IGNORECASE | re.MULTILINE,
)
_REPLY = re.compile(rf"(?:^|\s){_MARKUP}(?:{_ASSISTANT}){_COLON}", re.IGNORECASE)
# A turn of the assistant's own, or of a template of instructions, behind an answer.
_OTHER_TURN = re.compile(
    rf"^(?:{_MARKUP}(?:assistant|\u52a9\u624b){_COLON}"
    r"|#{2,6}[^\S\n]*(?:instructions?|human|user|assistant)[^\S\n]*:)"
    r"|(?<=\S)[^\S\n]*###[^\S\n]*(?:instructions?|human|user|assistant)[^\S\n]*:",
    re.IGNORECASE | re.MULTILINE,
)
# A question and its answer, of which base models write one after another.
_NEXT_QUESTION = re.compile(
    rf"^{_MARKUP}(?:question|q|frage|pregunta|domanda|\u0432\u043e\u043f\u0440\u043e\u0441"
    rf"|\u95ee\u9898|\u8cea\u554f|\u95ee|\u554f|\uc9c8\ubb38)(?:[^\S\n]?\d{{1,2}})?{_COLON}",
    re.IGNORECASE | re.MULTILINE,
)
_ITS_ANSWER = re.compile(
    rf"^{_MARKUP}(?:answer|a|antwort|respuesta|r[e\u00e9]ponse|risposta"
    rf"|\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u56de\u7b54|\u7b54|\ub2f5\ubcc0)"
    rf"(?:[^\S\n]?\d{{1,2}})?{_COLON}",
    re.IGNORECASE | re.MULTILINE,
)
# Roles, left where somebody took only the control tokens around them out; lines of nothing but
# roles are a list of them.
_ROLES = r"(?:user|assistant|system)"
_ROLE = re.compile(
    rf"(?<!^user\n)(?<!^system\n)(?<!^assistant\n)^{_ROLES}[^\S\n]*\n(?!{_ROLES}[^\S\n]*$)"
    r"|(?<=[.!?\"')])(?:user|assistant)(?=\n\n)",
    re.MULTILINE,
)
# What ends a turn; before an answer it means that there is none.
_END = (
    r"(?:<[|\uff5c](?:im_end|eo[tm](?:_id)?|end(?:[_\u2581]of[_\u2581]\w+)?|endoftext|return|call"
    r"|END_RESPONSE|END_OF_TURN_TOKEN)[|\uff5c]>|<turn\|>|<end_of_\w+>|<eo[a-z]>|</s>|<tool_\w+>)"
)
# What a template, or a model that goes on with it, puts before an answer.
_BEFORE = re.compile(
    rf"\A(?:\s*(?!{_END})(?:{CONTROL.pattern})(?!\s*(?:user|human|system)\b)"
    r"(?:(?:assistant|model|ai|bot)\b)?[^\S\n]*:?"
    rf"|\s*assistant[^\S\n]*(?:\n|\Z)|\s*{_MARKUP}(?:assistant|ai|chatbot|\u52a9\u624b){_COLON}"
    r"|\s*#{2,6}[^\S\n]*(?:response|answer)[^\S\n]*:[^\S\n]*(?:\n|$))\s*",
    re.IGNORECASE,
)
_WRAPPED = re.compile(
    r"\A\s*<(?P<tag>(?:final_)?answer|response|solution)>(?P<text>.*?)(?:</(?P=tag)>.*)?\Z",
    re.DOTALL | re.IGNORECASE,
)
_LABELLED = re.compile(rf"{_MARKUP}[^\W\d_]{{2,20}}{_COLON}")

_OPEN_QUOTES = {"`": "`", '"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_FENCE = re.compile(r"^[^\S\n]*```", re.MULTILINE)
# "the <think> tag", "<pad>, <unk> and <eos>": what follows says that it is spoken of.
_NAMED = re.compile(
    r"[^\S\n](?:tags?|tokens?|blocks?|markers?|elements?|and|or|is|are|means?|marks?)\b|[,;)]"
)

# A token behind others that are spoken of: "<pad>, <unk> and ".
_LISTED = re.compile(rf"(?:{CONTROL.pattern})(?:,|,?[^\S\n](?:and|or))[^\S\n]\Z", re.IGNORECASE)
_LIST = 60  # characters of it that are looked at
# A tail that may become something else by what comes next: a tag, a channel, a label, a role.
_OPEN_TAIL = re.compile(
    r"(?:<(?![\s=])[^>\n]{0,80}|[\[\u25c1][^\]\u25b7\s]{0,20}"
    rf"|<\|channel\|>(?:(?!<\|message\|>).){{0,200}}|(?!<\|message)(?:{CONTROL.pattern})\s*\w{{0,16}}"
    r"|(?:^|\n)[\W_]{0,6}[^\W\d_]{0,16})\Z",
    re.IGNORECASE | re.DOTALL,
)


# Whatever marks reasoning, control or turns has one of these.
_MARKER = re.compile(r"&lt;|[<\[{\u25c1:\uff1a]|user|assistant|system|analysis", re.IGNORECASE)
# How deep markers may stand in each other; nobody nests them by accident.
_NESTED = 8
# Characters behind a turn within which a list of labels would go on.
_SOON = 400
#: A stream is looked at again once it grew by one part of so many.
_OFTEN = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in what a model wrote."""

    text: str  #: stripped
    reasoning_chars: int = 0  #: characters of reasoning, none of which is in the text
    ended: bool = False  #: more came behind its end: no limit cut it


def answer_in(written: str) -> Answer:
    """The answer, without reasoning, control tokens and invented turns.

    Where the model wrote nothing else, the text is empty. Reasoning without an end goes on to the
    end of the text; where it has an end only, it began with the text. JSON stays as it is: a
    judge's strings may hold anything.
    """
    found = Answer(written.strip())
    for _ in range(_NESTED):  # one marker can hide another
        if not _MARKER.search(found.text):
            break
        again = _answer_in(found.text)
        if again.text == found.text:
            break
        reasoning = found.reasoning_chars + again.reasoning_chars
        found = Answer(again.text, reasoning, found.ended or again.ended)
    return found


def _answer_in(written: str) -> Answer:
    text, reasoning = _without_reasoning(_BOX.sub("", written))
    if json_text := _json(text.strip()):
        return Answer(json_text, reasoning, ended=json_text != text.strip())
    while (before := _BEFORE.match(text)) and before.end():
        text = text[before.end() :]
    if wrapped := _WRAPPED.match(text):
        text = wrapped["text"]
    end = min(_turn(text), _control(text))
    ended = end < len(text)
    text = text[:end].strip()
    if not ended:
        text = _HALF.sub("", text).rstrip()
    return Answer(text, reasoning, ended)


def control_tokens(text: str) -> list[str]:
    """The control tokens of chat templates in a text, in order, those in quotes included."""
    return [found.group() for found in CONTROL.finditer(text)]


def opens_reasoning(prompt: str) -> str:
    """The tag with which a prompt ends, so that the model goes on with its reasoning; or ""."""
    tail = prompt[-80:].rstrip()
    for found in _REASONING.finditer(tail):
        if found["opening"] and found.end() == len(tail):
            return found.group()
    return ""


class AnswerStream:
    """The answer while it is written. ``begun`` is what the prompt ends with: see above."""

    def __init__(self, begun: str = "") -> None:
        self._written = begun
        self._checked = 0
        self._shown = ""

    def add(self, text: str) -> str:
        """Take what came; return what the answer grew by, as far as that is certain."""
        self._written += text
        if _OFTEN * (len(self._written) - self._checked) < len(self._written):
            return ""  # it is read from its start each time
        self._checked = len(self._written)
        certain = answer_in(_OPEN_TAIL.sub("", self._written)).text
        return self._grown(certain)

    def end(self) -> tuple[str, Answer]:
        """The rest, and the answer.

        Reasoning that had no beginning, and a turn that was none, show themselves late: then
        what was returned is not a part of the answer, which holds.
        """
        answer = answer_in(self._written)
        return self._grown(answer.text), answer

    def _grown(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""
        new = text[len(self._shown) :]
        self._shown = text
        return new


def _json(text: str) -> str:
    """The JSON object or list that a text is, but for control tokens behind it; or ""."""
    if not text.startswith(("{", "[")):
        return ""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return ""
    rest = text[end:].lstrip()
    return text[:end] if not rest or CONTROL.match(rest) else ""


def _without_reasoning(text: str) -> tuple[str, int]:
    if _json(text.strip()):
        return text, 0
    reasoning = at = 0
    if _CHANNEL.search(text):
        text, reasoning = _final_channel(text)
    elif _BARE_CHANNELS.match(text):
        *others, final = _BARE_FINAL.split(text)
        text, reasoning = final if others else "", len(text) - len(final if others else "")
    kept: list[str] = []
    inside = False
    for tag in _spoken(_REASONING, text):
        if tag["opening"] and not inside:
            kept.append(text[at : tag.start()])
        elif tag["closing"]:
            reasoning += len(text[at : tag.start()].strip())
            if not inside:  # it began before the text did
                reasoning += len("".join(kept).strip())
                kept = []
        else:
            continue  # an opening within reasoning is part of it
        inside = tag["closing"] is None
        at = tag.end()
        if not inside and (made := _json(text[at:].strip())):
            return made, reasoning  # what reads like a tag in JSON is none
    if inside:
        return "".join(kept), reasoning + len(text[at:].strip())
    return "".join([*kept, text[at:]]), reasoning


def _final_channel(text: str) -> tuple[str, int]:
    """What Harmony's final channels say; the others are reasoning, or calls of tools."""
    final: list[str] = []
    reasoning = 0
    for channel in _CHANNEL.finditer(text):
        end = _CHANNEL_END.search(text, channel.end())
        content = text[channel.end() : end.start() if end else len(text)]
        if channel[1].casefold() == "final":
            final.append(content)
        else:
            reasoning += len(content.strip())
    return "".join(final), reasoning


def _control(text: str) -> int:
    """Where the first control token stands; the text's length where there is none."""
    struck = 0  # <s> in the midst of a text strikes it through, and </s> ends that
    for token in _spoken(CONTROL, text):
        name = token.group().casefold()
        if _LISTED.search(text, max(0, token.start() - _LIST), token.start()):
            continue
        if name == "<s>" and text[: token.start()].strip():
            struck += 1
        elif name == "</s>" and struck:
            struck -= 1
        elif name != _LOST:
            return token.start()
    return len(text)


def _turn(text: str) -> int:
    """Where the next turn of an invented conversation begins; the text's length if nowhere."""
    replied, answered = (_last(pattern, text) for pattern in (_REPLY, _ITS_ANSWER))
    turns = (turn for turn in _spoken(_TURN, text) if _is_turn(text, turn, replied))
    questions = (found for found in _spoken(_NEXT_QUESTION, text) if found.start() < answered)
    others = (_spoken(pattern, text) for pattern in (_OTHER_TURN, _ROLE))
    firsts = (
        next((turn.start() for turn in found if _is_answer(text[: turn.start()])), len(text))
        for found in (turns, questions, *others)
    )
    return min(firsts)


def _last(pattern: re.Pattern[str], text: str) -> int:
    """Where the last find begins; -1 if there is none."""
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _is_answer(before: str) -> bool:
    """Whether what stands before a turn is an answer, and not the announcement of a list."""
    before = before.rstrip()
    last = before.rpartition("\n")[2].strip()
    return before != "" and before[-1] not in ":,;-\uff1a" and not _LABELLED.match(last)


def _is_turn(text: str, turn: re.Match[str], replied: int) -> bool:
    """Whether somebody speaks: is answered (there is a reply at ``replied``), asks, or ends it all.

    "User: can read." in a list of roles is none.
    """
    label, end = turn.span("label")
    if replied >= end - 1:
        return True
    if text[label - 1 : label] not in ("", "\n"):
        return False  # in the midst of a line
    line, _, more = text[end:].partition("\n")
    asks = line.rstrip().endswith(("?", "\uff1f"))
    apart = text[:label].endswith("\n\n") and not any(
        map(_LABELLED.match, more[:_SOON].split("\n"))
    )
    return asks or (apart and not turn["label"].islower())  # "user: root" is a setting


def _spoken(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The finds of a pattern that are not only spoken of."""
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    fences = fences[: len(fences) // 2 * 2]  # one that is not closed is none
    for found in pattern.finditer(text):
        start, end = found.span()
        inside_code = bisect(fences, start) % 2
        if not inside_code and not _is_quoted(text, start, end):
            yield found


def _is_quoted(text: str, start: int, end: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    if text[start] in "<[\u25c1" and _NAMED.match(text, end) and text[line:start].strip():
        return True
    quote = text[start - 1 : start]
    if quote not in _OPEN_QUOTES or (start > 1 and text[start - 2] not in " \t\n([{=:,"):
        return False
    return _OPEN_QUOTES[quote] in text[end:].partition("\n")[0]
