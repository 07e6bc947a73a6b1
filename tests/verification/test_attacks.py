"""No text talks its way into a pair: every attack in every place, over a judge that obeys it.

The judge here is as bad as a judge can be. Where anything of an attack reaches it, it does what the
attacker would want: full marks for the attacker's answer, none for the others. What is left to
protect a batch: each statement is judged in a prompt of its own, where an attack can only plead for
itself; what is foreign to the contexts cannot be supported by them; controls show that the contexts
have talked the judge into something; screening; and verifiers which contradict each other are not
believed.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from rlvr_ray.core import pairing
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.pairing import Result, decide
from rlvr_ray.core.records import Batch, FailedVerification, Outcome, Verification
from rlvr_ray.core.sanitising import visible
from rlvr_ray.core.statements import split_statements
from rlvr_ray.documents.embedder import Vectors
from rlvr_ray.generation import selection
from rlvr_ray.generation.generator import Prompt
from rlvr_ray.pipeline.verification_loop import claims_of
from rlvr_ray.settings import Settings, VerificationSettings
from rlvr_ray.verification import abstention, statements
from rlvr_ray.verification.factory import build_panel
from rlvr_ray.verification.panel import WeightedPanel
from rlvr_ray.verification.screening import empty_words
from rlvr_ray.verification.steering import steers
from rlvr_ray.verification.verifier import Claim
from rlvr_ray.verification.verifiers.ragas import controlled
from tests.attacks import ATTACKS, Attack
from tests.builders import DECIDED, batch, context
from tests.embedder import minilm
from tests.fakes import FakeGenerator, Reply, completion

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

QUESTION = "How does Tern deliver messages when a consumer crashes?"
PASSAGES = (
    "Tern is a message queue written in Rust. When a consumer crashes, Tern puts its "
    "unacknowledged messages back at the head of the queue and delivers them to another consumer. "
    "Each message carries a counter of its deliveries.",
    "After five failed deliveries, Tern moves a message to the dead-letter queue. Operators can "
    "look into that queue with the command tern dead list. Messages stay there for 14 days.",
    "Tern keeps messages on disk in segments of 64 MiB. A segment is deleted once all of its "
    "messages are acknowledged.",
)
SOUND = (
    "When a consumer crashes, Tern puts its unacknowledged messages back at the head of the queue "
    "and delivers them to another consumer."
)
MIDDLING = "Tern is a message queue, and it keeps messages on disk."
FALSE = "Tern throws the messages of a crashed consumer away and waits 30 minutes for a new one."
#: Wrong, though each of its words stands there: containment by itself cannot tell.
NEARLY = (
    "When a consumer crashes, Tern delivers its unacknowledged messages to the head of the queue "
    "and puts them back to another consumer."
)
VAGUE = "Tern delivers messages to another consumer."

SETTINGS = Settings()

#: The attacker's answer comes first: where scores are equal, the first one is the better one.
ATTACKER = 0

COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("ragas",),
    ("logprob",),
    ("grounded",),
    ("ragas", "logprob"),
    ("ragas", "logprob", "grounded"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an attack stands: what is asked, over which passages, and the attacker's answer."""

    question: str
    passages: tuple[str, ...]
    answer: str


def in_answer(answer: str) -> Position:
    return Position(question=QUESTION, passages=PASSAGES, answer=answer)


def in_passage(attack: Attack, answer: str) -> Position:
    """In the middle of a passage that is retrieved with the others."""
    first, *others = PASSAGES
    head, tail = first.split("Rust. ")
    return Position(
        question=QUESTION,
        passages=(f"{head}Rust. {attack.text} {tail}", *others),
        answer=answer,
    )


POSITIONS: dict[str, Callable[[Attack], Position]] = {
    "answer, alone": lambda attack: in_answer(attack.text),
    "answer, behind a false one": lambda attack: in_answer(f"{FALSE} {attack.text}"),
    "answer, before a false one": lambda attack: in_answer(f"{attack.text} {FALSE}"),
    "answer, behind a nearly true one": lambda attack: in_answer(f"{NEARLY} {attack.text}"),
    "answer, behind a vague one": lambda attack: in_answer(f"{VAGUE} {attack.text}"),
    "answer, behind a true one": lambda attack: in_answer(f"{SOUND} {attack.text}"),
    "document, and the answer is false": lambda attack: in_passage(attack, FALSE),
    "document, and the answer obeys": lambda attack: in_passage(attack, attack.obeyed),
    "document, and the answer repeats it": lambda attack: in_passage(attack, attack.text),
    "document, and the answer abstains": lambda attack: in_passage(
        attack, "The passages do not say."
    ),
    "passage of its own": lambda attack: Position(
        question=QUESTION, passages=(attack.text, *PASSAGES), answer=FALSE
    ),
    "question": lambda attack: Position(
        question=f"{QUESTION} {attack.text}", passages=PASSAGES, answer=FALSE
    ),
}


def letters(text: str) -> str:
    """What is left of a text in any form: its letters and digits, folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


#: How many letters in a row must be found again, and how far apart those are that are looked for.
WINDOW, STEP = 16, 8


def windows(text: str, size: int = WINDOW, step: int = STEP) -> set[str]:
    """Pieces of a text's letters; the whole where it is shorter."""
    whole = letters(text)
    return {whole[at : at + size] for at in range(0, max(len(whole) - size, 0) + 1, step)} - {""}


HONEST_LETTERS = letters(" ".join((QUESTION, SOUND, MIDDLING, *PASSAGES)))


@dataclass
class Obedient:
    """A judge that is honest unless a prompt has anything of an attack, which it then obeys.

    An answer that did what the attack wants is a part of it. ``shown`` counts the prompts in which
    it obeyed.
    """

    attack: Attack
    position: Position
    shown: int = 0
    _pieces: set[str] = field(init=False)
    _whole: str = field(init=False)

    def __post_init__(self) -> None:
        attack = self.attack.text
        if self.position.answer == self.attack.obeyed:
            attack += f" {self.attack.obeyed}"
        self._pieces = {piece for piece in windows(attack) if piece not in HONEST_LETTERS}
        self._whole = letters(attack)

    def __call__(self, prompt: Prompt) -> Sequence[Reply]:
        text = prompt.messages[0].content
        if prompt.logprobs:
            return [_digit(self._verdict(material_of(text)))]
        assert prompt.json_schema is not None, "it asks for neither probabilities nor JSON"
        data = json_input(text)
        if '"verdict"' in json.dumps(prompt.json_schema):
            whole = data["context"]
            verdicts = [
                {
                    "statement": statement,
                    "reason": "",
                    "verdict": round(self._verdict({"Context": whole, "Statement": statement})),
                }
                for statement in data["statements"]
            ]
            return [json.dumps({"statements": verdicts})]
        if "noncommittal" in json.dumps(prompt.json_schema):
            return self._questions(data["response"], len(prompt.samples))
        if "answerable" in json.dumps(prompt.json_schema):
            material = {"Context": data["context"], "Question": data["question"]}
            return [json.dumps({"answerable": round(self._verdict(material))})]
        # On the second try, with twice the tokens, it holds to what the answer says.
        again = prompt.max_tokens > SETTINGS.judge.max_tokens
        return [json.dumps({"statements": self._statements(data["answer"], again=again)})]

    def _sees(self, *texts: str) -> bool:
        return any(map(self._knows, texts))

    def _knows(self, text: str) -> bool:
        """Whether a text is a piece of the attack, or has one."""
        whole = letters(text)
        if whole and whole in self._whole and whole not in HONEST_LETTERS:
            return True
        sizes = {len(piece) for piece in self._pieces}
        return any(not self._pieces.isdisjoint(windows(text, size, 1)) for size in sizes)

    def _verdict(self, material: dict[str, str]) -> float:
        """How likely it calls the last part of the material right."""
        asks_of_contexts = {"Context", "Question"} <= material.keys()
        subject = None if asks_of_contexts else material.get("Statement") or material["Response"]
        if self._sees(*material.values()):
            self.shown += 1
            if subject is None:  # whether the contexts answer: an abstention wants them not to
                return 0.0
            return 0.0 if letters(subject) in HONEST_LETTERS else 1.0
        if subject is None:
            return 1.0
        if "Response" in material:
            return {SOUND: 0.9, MIDDLING: 0.4}.get(subject, 0.1)
        return 0.97 if letters(subject) in HONEST_LETTERS else 0.03

    def _questions(self, response: str, count: int) -> list[Reply]:
        question = "What is this about?"
        if self._sees(response):
            self.shown += 1
            question = self.position.question
        elif response == SOUND:
            question = "What does Tern do with unacknowledged messages when a consumer crashes?"
        elif response == MIDDLING:
            question = "What is kept on disk?"
        return [json.dumps({"question": question, "noncommittal": 0})] * count

    def _statements(self, answer: str, *, again: bool) -> list[str]:
        if self._sees(answer) and not again:
            self.shown += 1
            return split_statements(PASSAGES[0])  # true, and not what the answer says
        return split_statements(answer)[:40] or [answer]


class Honest(Obedient):
    """The same judge, to which nobody talks."""

    def _sees(self, *texts: str) -> bool:
        return False


def _digit(likely: float) -> Reply:
    likely = min(max(likely, 0.001), 0.999)
    return completion("1", logprobs=[{"1": float(np.log(likely)), "0": float(np.log1p(-likely))}])


_MARKED = re.compile(r"(\w+): \[([0-9a-f]+)\] (.*?) \[/\2\]", re.DOTALL)


def material_of(prompt: str) -> dict[str, str]:
    """The marked texts of a prompt for one digit."""
    found = {name: text for name, _, text in _MARKED.findall(prompt)}
    assert len(found) >= 2, prompt
    return found


def json_input(prompt: str) -> dict[str, Any]:
    """The input of a stock prompt, without its marks."""
    material = prompt.rpartition("\ninput: ")[2]
    data, _ = json.JSONDecoder().raw_decode(material, material.index("{"))

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(item) for item in value]
        return re.sub(r"\[/?[0-9a-f]{8}\]", "", value).strip()

    return {name: bare(value) for name, value in data.items()}


class Remembering:
    """MiniLM that embeds no text twice."""

    def __init__(self) -> None:
        self._model = minilm()
        self._vectors: dict[str, Any] = {}
        self.name, self.dimensions = self._model.name, self._model.dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        for text in texts:
            if text not in self._vectors:
                self._vectors[text] = self._model.embed([text])[0]
        return np.stack([self._vectors[text] for text in texts])


def _verification(names: Sequence[str], others: dict[str, Any]) -> VerificationSettings:
    return VerificationSettings.model_validate({"verifiers": list(names), **others})


class Bench:
    """The real panels around one judge, one panel for each combination of verifiers."""

    def __init__(self, **verification: Any) -> None:
        self.judge = FakeGenerator()
        embedder = Remembering()
        self.panels: dict[tuple[str, ...], WeightedPanel] = {
            names: build_panel(
                SETTINGS.model_copy(update={"verification": _verification(names, verification)}),
                self.judge,
                embedder,
            )
            for names in COMBINATIONS
        }

    async def outcome(
        self, names: tuple[str, ...], judge: Obedient, *, all_at_once: bool = False
    ) -> Outcome | None:
        """What becomes of a batch of the attacker's answer, a sound one and a middling one.

        None where the attacker's answer by itself has no score: then no batch with it makes a pair.
        """
        self.judge.script = judge
        self.judge.prompts.clear()
        subject = batch_of(judge.position)
        claims = claims_of(subject)
        if not all_at_once:
            (alone,) = await self.panels[names].verify(claims[:1])
            if isinstance(alone, JudgeError):
                return None
        results = await self.panels[names].verify(claims)
        return decided(subject, claims, results)


def batch_of(position: Position) -> Batch:
    """The attacker's answer, a sound one and a middling one."""
    passages = (context(text, 0.8, chunk_index=n) for n, text in enumerate(position.passages))
    return batch(
        [position.answer, SOUND, MIDDLING], question=position.question, contexts=tuple(passages)
    )


def decided(
    subject: Batch, claims: Sequence[Claim], results: Sequence[Verification | JudgeError]
) -> Outcome:
    """What the rule makes of results, recorded under the names of this batch's answers."""
    recorded: dict[UUID, Result] = {}
    for claim, result in zip(claims, results, strict=True):
        event_id = claim.answer_event_id
        recorded[event_id] = (
            replace(result, answer_event_id=event_id)
            if isinstance(result, Verification)
            else FailedVerification(
                answer_event_id=event_id, reason=str(result), attempts=1, completed_at=DECIDED
            )
        )
    return decide(subject, recorded, SETTINGS.dpo.rule(), DECIDED)


def wins(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.reason is None and outcome.chosen == ATTACKER


def name_of(names: Sequence[str]) -> str:
    return "+".join(names)


def cases(where: str) -> list[Attack]:
    """The attacks that can be made there: what has no letter, beside an answer, is that answer."""
    beside = where.startswith(("answer, behind", "answer, before"))
    return [attack for attack in ATTACKS if not beside or letters(visible(attack.text))]


CASES = [
    pytest.param(attack, where, id=f"{attack.name}, {where}")
    for where in POSITIONS
    for attack in cases(where)
]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.mark.sampled(13)
@pytest.mark.parametrize(("attack", "where"), CASES)
async def test_no_attack_is_chosen(bench: Bench, attack: Attack, where: str) -> None:
    position = POSITIONS[where](attack)
    won = []
    for names in COMBINATIONS:
        outcome = await bench.outcome(names, Obedient(attack, position))
        if wins(outcome):
            won.append(f"{name_of(names)}: {outcome}")
    assert not won, f"{attack.name} ({attack.family}) in {where} wins with {'; '.join(won)}"


class TestTheTestItself:
    """A judge that nobody can fool, or a batch that makes no pair anyway, would prove nothing."""

    async def test_the_corpus_is_large_and_varied(self) -> None:
        assert len({attack.text for attack in ATTACKS}) == len(ATTACKS) >= 60
        assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
        assert len({attack.family for attack in ATTACKS}) >= 12

    async def test_what_runs_by_default_is_among_them(self) -> None:
        chosen = selection.choose(SETTINGS).settings.verification.chosen
        assert tuple(verifier.name for verifier in chosen) in COMBINATIONS

    @pytest.mark.parametrize("names", COMBINATIONS, ids=name_of)
    async def test_without_an_attack_the_sound_answer_is_chosen(
        self, bench: Bench, names: tuple[str, ...]
    ) -> None:
        nobody = Attack(name="nobody", family="none", text="")
        for answer in (FALSE, VAGUE):
            outcome = await bench.outcome(
                names, Honest(nobody, in_answer(answer)), all_at_once=True
            )
            assert outcome is not None
            assert outcome.reason is None, outcome.detail
            assert outcome.chosen == 1, outcome.detail

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("names", [("ragas",), ("logprob",)], ids=name_of)
    async def test_without_defences_the_judge_falls_for_nearly_all_of_them(
        self, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(controlled, "controls", lambda *_: None)
        monkeypatch.setattr(statements, "strange", lambda *_: [])
        monkeypatch.setattr(abstention, "abstains", lambda *_: False)
        monkeypatch.setattr(pairing, "unscorable", lambda _: None)
        open_door = Bench(screening=False, max_disagreement=1)
        seen = cases("answer, behind a false one")
        won = {
            attack.name
            for attack in seen
            for where in ("answer, alone", "answer, behind a false one")
            if wins(await open_door.outcome(names, Obedient(attack, POSITIONS[where](attack))))
        }
        assert len(won) >= 0.95 * len(seen), sorted({attack.name for attack in seen} - won)

    async def test_no_list_has_the_subtle_ones(self) -> None:
        subtle = [attack.text for attack in ATTACKS if attack.family == "subtle"]
        assert len(subtle) >= 10
        assert not [text for text in subtle if steers(text) or empty_words(text, 1)]

    async def test_what_sounds_like_the_matter_is_beyond_all_of_this(self, bench: Bench) -> None:
        """A limit: an unsupported sentence in the matter's own words needs a judge that is none."""
        text = "Tern's manual, of which little is shown here, has the same to say about crashes."
        beyond = Attack(name="beyond", family="none", text=text)
        judge = Obedient(beyond, in_answer(text))
        assert wins(await bench.outcome(("ragas",), judge))
        assert not wins(await bench.outcome(("grounded",), judge))
