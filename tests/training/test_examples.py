"""Rows for trainers: each format's schema, what is refused, the split, the card."""

import json
import math
import unicodedata
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.core.records import Context, Defect, Kind, Reason
from rlvr_ray.generation.prompts import rag_messages
from rlvr_ray.training.export import choosing, examples, formats
from rlvr_ray.training.export.card import REASONS, card
from rlvr_ray.training.export.examples import Answer, Pair, PromptStyle
from rlvr_ray.training.export.formats import Format, columns
from rlvr_ray.training.export.splitting import Groups, Split
from tests.builders import context
from tests.exports import ANSWER_FORMATS, PAIR_FORMATS
from tests.folders import MIXED, decided, expected
from tests.strategies import texts

FORMATS = (*PAIR_FORMATS, *ANSWER_FORMATS)
STYLES: tuple[PromptStyle, ...] = get_args(PromptStyle)
ROWS = expected(MIXED)
PAIRS = [examples.pair(row) for row in ROWS["dpo_data"]]
ANSWERS = [examples.answer(row) for row in ROWS["training_data"]]
SCORED = [answer for answer in ANSWERS if answer.score is not None]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _message(role: str) -> dict[str, Any]:
    return _object(role={"const": role}, content={"type": "string", "minLength": 1})


def _turns(*roles: str) -> dict[str, Any]:
    return {
        "type": "array",
        "prefixItems": [_message(role) for role in roles],
        "minItems": len(roles),
        "maxItems": len(roles),
    }


TEXT = {"type": "string"}
#: Roles of the prompt by its style.
ASKING = {"question": ("user",), "rag-messages": ("system", "user")}


def schema(name: Format, style: PromptStyle) -> dict[str, Any]:
    """What the trainer's documentation asks for, and the batch's id beside."""
    asking = ASKING[style]
    prompt, said, reply = _turns(*asking), _turns("assistant"), _message("assistant")
    whole = _turns(*asking, "assistant")
    conversational = {"prompt": prompt, "chosen": said, "rejected": said}
    ranked = [_object(rank={"const": rank}, completion=said) for rank in (0, 1)]
    wanted: dict[Format, dict[str, Any]] = {
        "trl": conversational,
        "openrlhf": conversational,
        "llamafactory": {"conversations": prompt, "chosen": reply, "rejected": reply},
        "axolotl": {"messages": prompt, "chosen": reply, "rejected": reply},
        "nemo-rl": {
            "context": prompt,
            "completions": {
                "type": "array",
                "prefixItems": ranked,
                "minItems": 2,
                "maxItems": 2,
            },
        },
        "ms-swift": {"messages": whole, "rejected_response": TEXT},
        "sft": {"messages": whole},
        "rewards": {
            "prompt": prompt,
            "completion": said,
            "reward": {"type": "number", "minimum": 0, "maximum": 1},
            "model": TEXT,
            "temperature": {"type": "number"},
        },
    }
    return _object(**wanted[name], batch_id={"type": "string", "format": "uuid"})


def batch_of(*scores: float | str, **changes: Any) -> list[Answer]:
    """The answers of a batch that got these scores, a text being why there is none."""
    return [
        examples.answer(row) for row in expected([decided(7, scores, **changes)])["training_data"]
    ]


class TestPairsFormedAnew:
    def test_they_have_what_the_decided_one_has(self) -> None:
        state = decided(7, (0.5, 0.9, 0.7))
        rows = expected([state])
        found = choosing.pairs(batch_of(0.5, 0.9, 0.7), "best_worst", PairingRule())
        assert isinstance(found, list)
        (anew,) = found
        (then,) = map(examples.pair, rows["dpo_data"])
        assert anew.indices == (1, 0)
        assert replace(anew, indices=None) == then

    def test_all_of_a_batch(self) -> None:
        found = choosing.pairs(batch_of(0.9, 0.5, 0.7), "all", PairingRule(min_score_diff=0.2))
        assert isinstance(found, list)
        assert [pair.indices for pair in found] == [(0, 2), (0, 1)], "2 has a defect itself"
        assert [pair.margin for pair in found] == [0.2, 0.4]
        assert [pair.defect for pair in found] == ["unsupported", "unsupported"]
        assert {dict(pair.rule)["strategy"] for pair in found} == {"all"}

    @pytest.mark.parametrize("which", ["best_worst", "best_random", "best_low", "all"])
    def test_a_batch_without_a_pair_says_why(self, which: Any) -> None:
        for scores, reason in (
            ((0.9, "silent"), Reason.UNSCORED),
            ((0.9, 0.8), Reason.NO_DEFECT),
            ((0.9, 0.89), Reason.MARGIN_TOO_SMALL),
            ((0.5, 0.1), Reason.CHOSEN_TOO_LOW),
            ((0.5, 0.5), Reason.TIE),
        ):
            assert choosing.pairs(batch_of(*scores), which, PairingRule()) is reason
        single = batch_of(0.9, kind=Kind.SINGLE)
        assert choosing.pairs(single, which, PairingRule()) is Reason.SINGLE_ANSWER

    def test_a_batch_whose_answers_are_not_all_there_gives_none(self) -> None:
        with pytest.raises(ValueError, match="2 of 3 answers"):
            choosing.pairs(batch_of(0.9, 0.5, 0.1)[1:], "all", PairingRule())
        with pytest.raises(ValueError, match="2 of 3 answers"):
            choosing.no_pair(batch_of(0.9, 0.5, 0.1)[:2])

    def test_a_batch_without_a_pair_is_kept_with_its_reason_and_all_scores(self) -> None:
        value = choosing.no_pair(batch_of(0.5, 0.52, 0.51))
        assert isinstance(value, examples.NoPair)
        row = formats.convert("no-pair", value.prompt("question"), value)
        said = [answer.answer for answer in batch_of(0.5, 0.52, 0.51)]
        assert row == {
            "prompt": [{"role": "user", "content": value.question}],
            "completions": [
                [{"role": "assistant", "content": text}] for text in (said[1], said[2], said[0])
            ],
            "scores": [0.52, 0.51, 0.5],
            "reason": "margin_too_small",
            "batch_id": value.batch_id,
        }
        assert choosing.no_pair(batch_of(0.9, "silent")) is Reason.UNSCORED


class TestFormats:
    @pytest.mark.parametrize("name", get_args(Format))
    def test_columns_are_described(self, name: Format) -> None:
        prompt = [{"role": "user", "content": "Why?"}]
        value: Any = PAIRS[0]
        if name == "no-pair":
            value = choosing.no_pair(batch_of(0.5, 0.4))
        elif name not in PAIR_FORMATS:
            value = SCORED[0]
        assert list(formats.convert(name, prompt, value)) == list(columns(name))

    def test_every_format_is_of_pairs_or_of_answers(self) -> None:
        assert [*FORMATS, "no-pair"] == [*get_args(Format)]

    @pytest.mark.parametrize("style", STYLES)
    @pytest.mark.parametrize("name", FORMATS)
    def test_rows_are_as_the_trainer_documents_them(self, name: Format, style: PromptStyle) -> None:
        check = jsonschema.Draft202012Validator(schema(name, style))
        values: Sequence[Pair | Answer] = PAIRS if name in PAIR_FORMATS else SCORED
        assert len(values) > 2
        for value in values:
            row = formats.convert(name, value.prompt(style), value)
            check.validate(json.loads(json.dumps(row, allow_nan=False)))
            assert row["batch_id"] == value.batch_id

    def test_the_schemas_refuse_each_others_rows(self) -> None:
        refused = 0
        for name in PAIR_FORMATS:
            row = formats.convert(name, PAIRS[0].prompt("question"), PAIRS[0])
            for other in PAIR_FORMATS:
                valid = jsonschema.Draft202012Validator(schema(other, "question")).is_valid(row)
                assert valid == (schema(name, "question") == schema(other, "question"))
                refused += not valid
        assert refused == 28

    @given(question=texts.filter(bool), chosen=texts, rejected=texts)
    @example(question="Q?", chosen="right", rejected="wrong")
    def test_texts_come_out_as_they_went_in_each_in_its_place(
        self, question: str, chosen: str, rejected: str
    ) -> None:
        if chosen == rejected:
            return
        row = deepcopy(ROWS["dpo_data"][0])
        row["metadata"]["question"] = question
        row |= {"chosen": chosen, "rejected": rejected}
        value = examples.pair(row)
        prompt = [{"role": "user", "content": question}]
        good, bad = ({"role": "assistant", "content": text} for text in (chosen, rejected))

        def made(name: Format) -> dict[str, Any]:
            found = formats.convert(name, value.prompt("question"), value)
            del found["batch_id"]
            return found

        conversational = {"prompt": prompt, "chosen": [good], "rejected": [bad]}
        assert made("trl") == made("openrlhf") == conversational
        assert made("llamafactory") == {"conversations": prompt, "chosen": good, "rejected": bad}
        assert made("axolotl") == {"messages": prompt, "chosen": good, "rejected": bad}
        assert made("nemo-rl") == {
            "context": prompt,
            "completions": [{"rank": 0, "completion": [good]}, {"rank": 1, "completion": [bad]}],
        }
        assert made("ms-swift") == {"messages": [*prompt, good], "rejected_response": rejected}

    def test_a_rewards_row_has_the_score_and_the_sampling(self) -> None:
        row = formats.convert("rewards", [], SCORED[1])
        assert (row["reward"], row["model"], row["temperature"]) == (0.7, "test-model", 0.7)

    def test_rag_messages_are_the_chat_that_the_model_answered(self) -> None:
        state = MIXED[0].batch
        asked = rag_messages(state.question, state.contexts)
        assert PAIRS[0].prompt("rag-messages") == [
            {"role": message.role, "content": message.content} for message in asked
        ]

    def test_the_question_is_the_prompt_also_where_pairs_were_written_with_the_rag_prompt(
        self,
    ) -> None:
        (row,) = (row for row in ROWS["dpo_data"] if row["metadata"]["rule"]["prompt"] == "rag")
        assert len(row["prompt"]) > len(row["metadata"]["question"])
        asked = examples.pair(row).prompt("question")
        assert asked == [{"role": "user", "content": row["metadata"]["question"]}]

    def test_dataset_info_describes_each_file(self) -> None:
        columns = {name: {"const": name} for name in ("chosen", "rejected")}
        tags = {
            f"{name}_tag": {"const": name}
            for name in ("role", "content", "user", "assistant", "system")
        }
        entry = _object(
            file_name={"type": "string"},
            ranking={"const": True},
            formatting={"const": "sharegpt"},
            columns=_object(messages={"const": "conversations"}, **columns),
            tags=_object(**tags),
        )
        info = formats.dataset_info({"train": "train.jsonl", "eval": "eval.jsonl"})
        jsonschema.validate(info, _object(rlvr_train=entry, rlvr_eval=entry))
        assert [each["file_name"] for each in info.values()] == ["train.jsonl", "eval.jsonl"]


def without(row: Any, path: str, **instead: Any) -> Any:
    """A copy that lacks what a path such as ``metadata.rule`` names, or has another value."""
    copy = deepcopy(row)
    *parents, last = path.split(".")
    place = copy
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    del place[last]
    return copy if not instead else (place.update({last: instead["value"]}), copy)[1]


class TestReading:
    @pytest.mark.parametrize(
        "path",
        [
            "chosen",
            "rejected",
            "score_diff",
            "chosen_score",
            "metadata",
            "metadata.batch_id",
            "metadata.question",
            "metadata.rule",
            "metadata.prompt_version",
            "metadata.contexts",
            "metadata.contexts.0.content",
            "metadata.contexts.0.score",
            "metadata.contexts.0.metadata",
            "metadata.rejected_provenance",
            "metadata.chosen_provenance.model",
            "metadata.chosen_provenance.assessments",
            "metadata.chosen_provenance.assessments.0.judge",
            "metadata.chosen_provenance.assessments.0.judge.model",
        ],
    )
    def test_a_pair_that_lacks_something_is_refused_by_its_name(self, path: str) -> None:
        row = ROWS["dpo_data"][0]
        examples.pair(row)
        name = path.rpartition(".")[2]
        for spoilt in (without(row, path), without(row, path, value=None)):
            with pytest.raises(ValueError, match=f"^{name} is missing or is not "):
                examples.pair(spoilt)

    @pytest.mark.parametrize(
        "path",
        [
            "question",
            "answer",
            "contexts",
            "verification",
            "verification.assessments",
            "metadata",
            "metadata.batch_id",
            "metadata.event_id",
            "metadata.candidate_index",
            "metadata.temperature",
            "metadata.finish_reason",
            "metadata.model",
        ],
    )
    def test_an_answer_likewise(self, path: str) -> None:
        row = ROWS["training_data"][0]
        examples.answer(row)
        name = path.rpartition(".")[2]
        with pytest.raises(ValueError, match=f"^{name} is missing or is not "):
            examples.answer(without(row, path))

    @pytest.mark.parametrize("value", [None, 7, "text", [], [1], {}, True])
    def test_what_is_no_row_at_all(self, value: Any) -> None:
        for read in (examples.pair, examples.answer):
            with pytest.raises(ValueError, match="metadata is missing"):
                read(value)

    @pytest.mark.parametrize("value", [True, "0.9", math.nan, math.inf, 10**400, -(10**400), []])
    def test_a_score_is_a_finite_number(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"^chosen_score is missing or is not a number"):
            examples.pair({**ROWS["dpo_data"][0], "chosen_score": value})

    def test_texts_that_no_file_could_hold(self) -> None:
        for text in ("\0", "\ud800"):
            with pytest.raises(ValueError, match=r"^chosen "):
                examples.pair({**ROWS["dpo_data"][0], "chosen": text})

    @pytest.mark.parametrize("side", ["chosen", "rejected"])
    def test_whether_an_answer_was_cut_off(self, side: str) -> None:
        row = deepcopy(ROWS["dpo_data"][0])
        assert examples.pair(row).cut_off == (False, False)
        row["metadata"][f"{side}_provenance"]["finish_reason"] = "length"
        assert examples.pair(row).cut_off == (side == "chosen", side == "rejected")
        del row["metadata"][f"{side}_provenance"]["finish_reason"]
        assert examples.pair(row).cut_off == (False, False)

    def test_all_judges_of_both_answers_once(self) -> None:
        assert [judge.verifier for judge in PAIRS[0].judges] == ["grounded"]
        assert {judge.verifier for judge in PAIRS[-1].judges} == {"ragas", "exact", "grounded"}


class TestBest:
    def answers(self, *scores: Any, **changes: Any) -> list[Answer]:
        rows = expected([decided(0, scores, **changes)])["training_data"]
        return [examples.answer(row) for row in rows]

    def test_the_first_of_the_best(self) -> None:
        found, reasons = choosing.best(self.answers(0.8, 0.9, 0.9, 0.5, "failed"), PairingRule())
        assert found is not None
        assert found.index == 1
        assert reasons == {"not_the_best": 2, "score_too_low": 1, "unscored": 1}

    def test_the_threshold_is_inclusive(self) -> None:
        assert (
            choosing.best(self.answers(0.8, 0.2), PairingRule(min_chosen_score=0.8))[0] is not None
        )
        assert choosing.best(self.answers(0.799, 0.2), PairingRule(min_chosen_score=0.8))[0] is None

    @pytest.mark.parametrize("nothing", ["", " \n", "\ufeff", "\u200b\u00ad", "\u3164 \u2800"])
    def test_neither_an_empty_one_nor_one_that_was_cut(self, nothing: str) -> None:
        rows = expected([decided(0, (0.9, 0.8, 0.8), answers=(nothing, "cut of", "whole"))])
        rows["training_data"][1]["metadata"]["finish_reason"] = "length"
        answers = [examples.answer(row) for row in rows["training_data"]]
        found, reasons = choosing.best(answers, PairingRule())
        assert found is not None
        assert found.answer == "whole"
        assert reasons == {"empty_answer": 1, "cut_off": 1}

    @pytest.mark.parametrize("defect", [each for each in Defect if each is not Defect.LOW_SCORE])
    def test_none_with_a_defect(self, defect: Defect) -> None:
        best, other = self.answers(0.9, 0.8)
        found, reasons = choosing.best([replace(best, defect=defect), other], PairingRule())
        assert found == other
        assert reasons == {"defect": 1}

    def test_what_a_chosen_answer_must_reach_holds(self) -> None:
        best, other = self.answers(0.9, 0.8)
        for low in (replace(best, faithfulness=0.5), replace(best, relevancy=0.5)):
            assert choosing.best([low, other], PairingRule()) == (other, {"score_too_low": 1})


def test_tokens_are_those_of_the_longer_answer_and_of_the_template() -> None:
    def count(text: str) -> int:
        return len(text.split())

    prompt = [{"role": "system", "content": "a b"}, {"role": "user", "content": "c"}]
    own = 3 * formats.MESSAGE_TOKENS + formats.TEMPLATE_TOKENS
    assert formats.tokens(prompt, ("d e f", "g"), count) == 6 + own
    assert formats.tokens(prompt, ("g", "d e f"), count) == 6 + own
    assert formats.tokens(prompt, ("g",), count) == 4 + own


PASSAGE = "The café's “first” oﬃce\nis 10 km off."


class TestLinks:
    def link(self, question: str, *contexts: Context) -> set[str]:
        return set(examples.pair(_asked(question, contexts)).links())

    def test_rows_over_one_document_share_a_link_whatever_the_passage(self) -> None:
        first = self.link("a?", context("one", chunk_index=1))
        assert first & self.link("b?", context("two", chunk_index=9))
        assert not first & self.link("b?", context("two", document_id="other", source="other.md"))

    def test_the_same_file_in_another_collection_is_the_same_document(self) -> None:
        assert self.link("a?", context("x", document_id="1")) & self.link(
            "b?", context("y", document_id="2")
        )

    @pytest.mark.parametrize(
        "other",
        [
            "What is  the café of Ray?\n",
            "what is the CAFÉ of ray",
            "What is the café of Ray ?",
            "What is the café of Ray？",
            "What is the café of Ray?!",
            "¿What is the café of Ray…",
            unicodedata.normalize("NFD", "What is the café of Ray?"),
            "\ufeffWhat is\u00a0the ca\u00adfé of\u200b Ray?\u200e",
            "What is the **café** of Ray.",
            "“What is the café of Ray?”",
        ],
    )
    def test_a_question_is_the_same_however_it_is_spelled(self, other: str) -> None:
        here, there = (
            context(document_id="1", source="1"),
            context("b", document_id="2", source="2"),
        )
        assert self.link("What is the café of Ray?", here) & self.link(other, there)

    @pytest.mark.parametrize(
        "other", ["What is Ray 2?", "What is Rat?", "Is what Ray?", "?", "Ray"]
    )
    def test_another_question_is_another(self, other: str) -> None:
        assert not self.link("What is Ray?") & self.link(other)

    @pytest.mark.parametrize(
        "copy",
        [
            PASSAGE,
            PASSAGE.replace("\n", " "),
            PASSAGE.replace(" ", "  \u00a0") + "\n\n",
            PASSAGE.replace(" ", "\u200b "),
            PASSAGE.replace("first", "fi\u00adrst"),
            f"\ufeff{PASSAGE}",
            *(unicodedata.normalize(form, PASSAGE) for form in ("NFC", "NFD", "NFKC", "NFKD")),
        ],
    )
    def test_a_passage_is_the_same_under_any_name(self, copy: str) -> None:
        here = context(PASSAGE, document_id="1", source="v1.md")
        there = context(copy, document_id="2", source="v2.md")
        assert self.link("a?", here) & self.link("b?", there)

    def test_a_passage_without_a_name_links_by_its_text(self) -> None:
        one, two = (Context(content=text, score=0.5, metadata={}) for text in ("one", "two"))
        assert self.link("a?", one) & self.link("b?", one)
        assert not self.link("a?", one) & self.link("b?", two)

    def test_by_question_nothing_else_links(self) -> None:
        rows = [examples.pair(_asked(question, [context()])) for question in ("a?", "A", "b?")]
        one, same, other = (set(row.links("question")) for row in rows)
        assert one == same and len(one) == 1
        assert not one & other


def _asked(question: str, contexts: Sequence[Context]) -> Any:
    (row,) = expected([decided(0, contexts=tuple(contexts))])["dpo_data"]
    row["metadata"]["question"] = question
    return row


keyed = st.lists(
    st.lists(st.integers(0, 25).map(str), min_size=1, max_size=3), min_size=1, max_size=30
)
shares = st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.99]) | st.floats(0, 1, exclude_max=True)


def split(rows: Sequence[Sequence[str]], share: float) -> Split:
    groups = Groups()
    for keys in rows:
        groups.add(keys)
    return groups.split(share)


class TestSplit:
    @given(rows=keyed, share=shares)
    def test_no_key_is_on_both_sides(self, rows: list[list[str]], share: float) -> None:
        found = split(rows, share)
        sides: tuple[set[str], set[str]] = (set(), set())
        for keys, in_eval in zip(rows, found.in_eval, strict=True):
            sides[in_eval].update(keys)
        assert not sides[0] & sides[1]
        assert not all(found.in_eval)
        assert sum(found.in_eval) <= (max(1, share * len(rows)) if share else 0)

    @given(rows=keyed, share=shares, random=st.randoms(use_true_random=False))
    def test_the_order_of_rows_and_keys_changes_nothing(
        self, rows: list[list[str]], share: float, random: Any
    ) -> None:
        found = split(rows, share)
        places = list(range(len(rows)))
        random.shuffle(places)
        again = split([random.sample(rows[i], len(rows[i])) for i in places], share)
        assert [found.in_eval[i] for i in places] == list(again.in_eval)
        assert (found.groups, found.largest) == (again.groups, again.largest)

    @given(rows=keyed)
    def test_groups_are_the_connected_ones(self, rows: list[list[str]]) -> None:
        merged: list[tuple[set[str], int]] = []
        for keys in rows:
            touched = [one for one in merged if one[0] & set(keys)]
            merged = [one for one in merged if not one[0] & set(keys)]
            union = set(keys).union(*(one[0] for one in touched))
            merged.append((union, 1 + sum(one[1] for one in touched)))
        found = split(rows, 0.5)
        assert (found.groups, found.largest) == (len(merged), max(n for _, n in merged))

    def test_many_small_groups_reach_the_share(self) -> None:
        found = split([[str(n)] for n in range(1000)], 0.1)
        assert (sum(found.in_eval), found.groups, found.largest) == (100, 1000, 1)
        ends = sum(found.in_eval[:500])
        assert 20 < ends < 80, "hashes decide, not the order"

    def test_a_group_that_is_too_large_stays_in_train_and_smaller_ones_fill_eval(self) -> None:
        rows = [["big"]] * 60 + [[str(n)] for n in range(40)]
        found = split(rows, 0.2)
        assert not any(found.in_eval[:60])
        assert sum(found.in_eval[60:]) == 20

    def test_one_group_is_never_split(self) -> None:
        found = split([["a", "b"], ["b", "c"], ["c", "d"]], 0.4)
        assert (found.in_eval, found.groups, found.largest) == ((False,) * 3, 1, 3)

    def test_two_rows_are_one_for_each(self) -> None:
        assert sorted(split([["a"], ["b"]], 0.1).in_eval) == [False, True]

    def test_where_rows_go_is_the_same_for_ever(self) -> None:
        found = split([[str(n)] for n in range(20)], 0.2)
        assert [n for n, in_eval in enumerate(found.in_eval) if in_eval] == PINNED

    def test_nothing_at_all(self) -> None:
        assert split([], 0.1) == Split(in_eval=(), groups=0, largest=0)


#: Changing these would move rows from train to eval in exports that people have.
PINNED = [8, 9, 13, 17]

REPORT: dict[str, Any] = {
    "human": None,
    "near_duplicates": None,
    "decontaminate": [],
    "format": "trl",
    "dataset": "dpo_data",
    "pairs": "decided",
    "prompt": "question",
    "prompt_version": "rag-1",
    "files": {"train": "train.jsonl", "eval": "eval.jsonl"},
    "read": 1240,
    "left_out": {"unreadable": 3, "too_long": 7},
    "unreadable": [],
    "max_tokens": None,
    "min_score": None,
    "splits": {
        "train": {
            "rows": 1130,
            "questions": 1100,
            "documents": 300,
            "cut_off": 0.0,
            "rejected_cut_off": 0.25,
            "chosen_longer": 0.55,
            "margin": [0.05, 0.1, 0.2, 0.3, 0.9],
        },
        "eval": {
            "rows": 100,
            "questions": 99,
            "documents": 30,
            "cut_off": 0.0,
            "rejected_cut_off": 0.0,
            "chosen_longer": 0.5,
            "margin": [0.05, 0.1, 0.2, 0.3, 0.4],
        },
    },
    "questions": 1199,
    "documents": 330,
    "control_tokens": [],
    "split": {"by": "document", "wanted": 0.1, "reached": 0.0813, "groups": 412, "largest": 31},
    "models": {"maker": 1230},
    "judges": [
        {
            "verifier": "exact",
            "model": "",
            "engine": "",
            "faithfulness": "",
            "relevancy": "",
            "version": "exact-1",
            "rows": 1230,
        }
    ],
    "rules": [{"rule": {"min_score_diff": "0.05"}, "rows": 1230}],
    "defects": [{"defect": "unsupported", "rows": 1200}, {"defect": None, "rows": 30}],
    "prompt_versions": {"rag-1": 1230},
}


class TestCard:
    def written(self, license_: str | None = None, **changes: Any) -> str:
        return card(REPORT | changes, "9.9", license_)

    def front(self, text: str) -> Any:
        empty, front, _ = text.split("---\n", 2)
        assert empty == ""
        return yaml.safe_load(front)

    def test_the_front_matter_names_files_by_split(self) -> None:
        front = self.front(self.written())
        (config,) = front["configs"]
        assert config["data_files"] == [
            {"split": "train", "path": "train.jsonl"},
            {"split": "eval", "path": "eval.jsonl"},
        ]
        assert front["license"] == "other"

    def test_a_license_that_is_given(self) -> None:
        text = self.written("cc-by-4.0")
        assert self.front(text)["license"] == "cc-by-4.0"
        assert "**License:**" not in text
        assert "**License:** not stated" in self.written()

    def test_figures_stand_in_the_text(self) -> None:
        text = self.written()
        for part in (
            "| pairs | 1,130 | 100 |",
            "| questions | 1,100 | 99 |",
            "| documents | 300 | 30 |",
            "| share whose chosen was cut off | 0.000 | 0.000 |",
            "| share whose rejected was cut off | 0.250 | 0.000 |",
            "about 1,199 questions and have passages of\n330 documents",
            "No document, no passage and no question is in both",
            "| `prompt` | what the model is asked: a list of messages |",
            "| share whose chosen is longer | 0.550 | 0.500 |",
            "| 0.05, 0.1, 0.2, 0.3, 0.9 | 0.05, 0.1, 0.2, 0.3, 0.4 |",
            "was to have 10.0% of the rows and has 8.1%",
            "Of 1,240 rows, 10 are not here.",
            f"| `too_long` | {REASONS['too_long']} | 7 |",
            "| `exact` | – | – | – | – | `exact-1` | 1,230 |",
            "| `min_score_diff` 0.05 | 1,230 |",
            "| `unsupported` | 1,200 |",
            "| – | 30 |",
            "No token limit was given",
        ):
            assert part in text
        assert "The token limit is 512," in self.written(max_tokens=512)

    def test_what_a_split_by_question_keeps_apart(self) -> None:
        text = self.written(split=REPORT["split"] | {"by": "question"})
        assert (
            "No question is in both, whatever its spelling; documents and passages may be." in text
        )

    def test_contradictions_control_tokens_and_what_was_cut_off(self) -> None:
        plain = self.written()
        found = [{"place": "chosen", "rows": 1_234, "tokens": ["</s>", "<|im_end|>"]}]
        changed = deepcopy(REPORT["splits"])
        changed["train"]["cut_off"] = 0.1
        text = self.written(control_tokens=found, left_out={"contradiction": 2_468}, splits=changed)
        for part in (
            "same question prefers the other answer: 2,468.",
            "Rows with control tokens of chat templates in chosen: 1,234, such as `</s>`, "
            "`<|im_end|>`.",
            "Chosen answers that were cut off at the token limit: 113.",
            "| `contradiction` |",
        ):
            assert part in text
            assert part not in plain

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"judge": {"model": "maker"}}, "`maker` judged answers of its own"),
            ({"judge": {"faithfulness": "grounded"}}, "it knows no synonyms"),
            ({"judge": {"faithfulness": "ragas"}}, "answers with few statements"),
            ({"longer": 0.61}, "the longer one in 61% of"),
            ({"longer": 0.39}, "the longer one in 39% of"),
        ],
    )
    def test_biases_are_those_of_the_data(self, changes: Any, said: str) -> None:
        assert said not in self.written()
        changed = deepcopy(REPORT)
        changed["judges"][0] |= changes.get("judge", {})
        changed["splits"]["train"]["chosen_longer"] = changes.get("longer", 0.5)
        assert said in card(changed, "9.9", None)

    def test_what_was_compared_with_what(self) -> None:
        assert "No held-out questions were given" in self.written()
        file = {"source": "s3://private/bucket/exam.csv", "questions": 1_319, "rows": 4}
        text = self.written(near_duplicates=0.85, decontaminate=[file])
        assert "at least\n0.85 in the question and in every answer" in text
        assert "| `exam.csv` | 1,319 | 4 |" in text
        assert "private" not in text
        assert "No held-out questions were given" not in text

    @pytest.mark.parametrize(
        ("rows", "size"),
        [(100, "n<1K"), (899, "n<1K"), (900, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B")],
    )
    def test_size_and_languages_as_the_hub_names_them(self, rows: int, size: str) -> None:
        splits = {name: {"rows": n} for name, n in (("train", rows), ("eval", 100))}
        report = REPORT | {"splits": {k: REPORT["splits"][k] | v for k, v in splits.items()}}
        front = self.front(card(report, "9.9", None, ("no", "pt-BR")))
        assert front["size_categories"] == [size]
        assert front["language"] == ["no", "pt-BR"]
        assert "language" not in self.front(self.written())

    def test_what_people_said(self) -> None:
        assert "People" not in self.written()
        counts = {"agree": 1_700, "disagree": 30, "tie": 4, "discard": 2, "unreviewed": 9}
        text = self.written(human={**counts, "turned_round": 28})
        assert "| `disagree` | the rejected answer is better | 30 |" in text
        assert "| `agree` | the chosen answer is better | 1,700 |" in text
        assert "28 pairs are swapped here" in text

    def test_names_do_not_break_its_tables(self) -> None:
        assert "| `a\\|b` | 1 |" in self.written(models={"a|b": 1})
