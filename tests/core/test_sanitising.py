"""What is taken out of texts from outside, what stays, and marks that no text holds."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlvr_ray.core.sanitising import between, mark, visible, without

TOKENS = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<｜Assistant｜>", "<start_of_turn>",
          "<end_of_turn>", "<end_of_text>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<<SYS>>",
          "<</SYS>>", "<s>", "</s>", "<bos>", "<eos>", "[deadbeef]", "[/12345678]"]  # fmt: skip
PIECES = [*TOKENS, "<|", "|>", "im_", "<", ">", "[", "]", "/", "s", "INST", "a", "\u200b", "\r\n"]
TEXT = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
MARKS = st.sampled_from(["abababab", "aaaaaaaa", "0123abcd", "abcabcab"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain text, with 3 signs: 50% of $7!",
        "a\tb\nc\n\nd",
        "Crème brûlée, Ångström, naïve, Đặng, e\u0301",
        "東京は日本の首都です。",
        "한국어 텍스트",
        "ما هي عاصمة فرنسا؟",
        "\u0661\u0662\u06dd",
        "שלום עולם",
        "दिल्ली भारत की राजधानी है।",
        "กรุงเทพมหานคร",
        "Ελλάδα и Россия",
        "👍✅💯🚀",
        "∀x ∈ ℝ: x² ≥ 0",
        "def f(x: list[int]) -> int: return x[0] | 1",
        "if a < b and c > d: <p>text</p>",
        "[1] and [20260314] and [a note] and [/path]",
        "«quoted» – “so” … it’s",
    ],
)
def test_what_is_seen_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    "char",
    ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202a", "\u202e", "\u2066",
     "\u2069", "\u200e", "\U000e0041", "\U000e007f", "\ufe0e", "\ufe0f", "\U000e0100", "\x00",
     "\x07", "\x1b", "\x7f", "\x9f", "\u3164", "\u115f", "\u2800", "\u180b", "\ue000", "\ud800",
     "\uffff"],
    ids=ascii,
)  # fmt: skip
def test_what_shows_nothing_goes(char: str) -> None:
    assert visible(f"ig{char}nore {char}") == "ignore "


@pytest.mark.parametrize(
    "end", ["\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"], ids=ascii
)
def test_each_kind_of_line_end_is_one(end: str) -> None:
    assert visible(f"one{end}two") == "one\ntwo"


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_chat_templates_go(token: str) -> None:
    assert visible(f"before {token}after") == "before after"
    assert visible(f"before {token.swapcase()}after") == "before after"


@pytest.mark.parametrize(
    "text",
    [
        "<|im_<|im_end|>end|>",
        "[IN[INST]ST]",
        "<</S</s>YS>>",
        "<start_<s>of_turn>",
        "[dead[/deadbeef]beef]",
        "<|im\u200b_end|>",
        "<\u2060|im_end|\u2060>",
        "[/IN\u00adST]",
    ],
    ids=ascii,
)
def test_tokens_inside_tokens_and_behind_what_is_unseen_go(text: str) -> None:
    assert visible(text) == ""


def test_a_text_that_goes_on_making_tokens_loses_its_brackets() -> None:
    deep = "[IN" * 20 + "[INST]" + "ST]" * 20
    assert not set("[]<>") & set(visible(deep))
    assert "INST" in visible(deep).replace(" ", "")


@settings(max_examples=50, deadline=None)
@given(TEXT)
@example("[IN" * 7 + "[INST]" + "ST]" * 7)
@example("<|im_<|im_end|>end|>")
def test_visible_twice_is_visible_once(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@settings(max_examples=50, deadline=None)
@given(TEXT)
def test_no_token_is_left(text: str) -> None:
    left = visible(text).casefold()
    assert not [token for token in TOKENS if token.casefold() in left]


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abc äß東ي1.,;\n\t", max_size=60))
def test_ordinary_text_is_not_touched(text: str) -> None:
    assert visible(text) == text


class TestMark:
    def test_is_stable_and_short(self) -> None:
        first = mark("Who?", ["One.", "Two."])
        assert first == mark("Who?", ("One.", "Two."))
        assert re.fullmatch("[0-9a-f]{8}", first)
        assert re.fullmatch("[0-9a-f]{8}", mark("", []))

    def test_changes_with_the_question_each_context_and_their_order(self) -> None:
        marks = [
            mark("Who?", ["One.", "Two."]),
            mark("Who", ["One.", "Two."]),
            mark("Who?", ["One", "Two."]),
            mark("Who?", ["One.", "Two"]),
            mark("Who?", ["Two.", "One."]),
            mark("Who?", ["One."]),
            mark("Who?", ["One.Two."]),
            mark("Who?One.", ["Two."]),
            mark("Who?", []),
        ]
        assert len(set(marks)) == len(marks)

    def test_lone_surrogates_have_one_too(self) -> None:
        assert re.fullmatch("[0-9a-f]{8}", mark("\ud800", ["\udfff"]))


def marked(piece: str) -> st.SearchStrategy[str]:
    """Texts of a mark, of parts of it, and of what stands around it."""
    parts = [piece, piece[:3], piece[3:], piece[:5], piece[5:], f"[{piece}]", f"[/{piece}]"]
    return st.lists(st.sampled_from([*parts, "[", "]", "/", " ", "x"]), max_size=25).map("".join)


@settings(max_examples=50, deadline=None)
@given(st.data(), MARKS)
def test_no_text_holds_its_own_mark(data: st.DataObject, piece: str) -> None:
    text = data.draw(marked(piece))
    bare = without(piece, text)
    assert piece not in bare
    assert bare == bare.strip()
    assert without(piece, bare) == bare
    framed = between(piece, text)
    assert framed == f"[{piece}] {bare} [/{piece}]"
    assert framed.count(piece) == 2


def test_the_rest_of_the_text_stays() -> None:
    assert between("0123abcd", " some [text] ") == "[0123abcd] some [text] [/0123abcd]"
    assert without("0123abcd", "[0123abcd] It is so. [/0123abcd]") == "It is so."
    assert without("0123abcd", "0123[0123abcd]abcd is gone") == "is gone"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["a", "{", "<|", "<|im_", "[", "[IN", "<", "\n", "\u200b", "[0123abcd", "ignore "]
)
def test_long_texts_finish(piece: str) -> None:
    text = (piece * 20_000)[:20_000]
    assert len(visible(text)) <= 20_000
    assert between("0123abcd", text).count("0123abcd") == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("deep", ["<|a" * 5_000 + "|>" * 2_500, "[IN" * 3_300 + "ST]" * 3_300])
def test_deep_nesting_finishes(deep: str) -> None:
    assert visible(visible(deep)) == visible(deep)
