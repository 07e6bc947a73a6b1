"""Spellings of one answer make no pair, and the same text has the same score wherever it stands."""

import unicodedata
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from rlvr_ray.core import ids
from rlvr_ray.core.errors import JudgeError
from rlvr_ray.core.pairing import decide
from rlvr_ray.core.records import Batch, FailedVerification, Reason, Verification
from rlvr_ray.core.scoring import score
from rlvr_ray.settings import load
from rlvr_ray.verification import factory
from rlvr_ray.verification.verifier import Claim, Panel
from tests.builders import DECIDED, batch, context

#: Question, passages, a right answer, a wrong one.
CASES = (
    (
        "How deep is the harbour of Port Ellery?",
        (
            "Port Ellery has the only natural harbour on the coast. It is 14 metres deep at low "
            "tide, so that tankers can enter at any hour.",
            "The lighthouse of Port Ellery was rebuilt in 1931 after a storm.",
        ),
        "The harbour is 14 metres deep at low tide.",
        "The harbour is 41 metres deep at low tide.",
    ),
    (
        "When does the museum café in Zürich open?",
        ("The museum café in Zürich opens at nine. On Sundays it stays closed.",),
        "The museum café opens at nine.",
        "The museum café opens at eleven.",
    ),
    (
        "Who may borrow instruments from the music school?",
        (
            "Instruments are lent to pupils of the music school for one term. Teachers use those "
            "of the orchestra.",
        ),
        "Pupils of the music school may borrow instruments for one term.",
        "Teachers may borrow instruments from the orchestra.",
    ),
    (
        "What does the command `plover sync` do?",
        (
            "`plover sync` copies new recordings to the archive. `plover prune` deletes those "
            "older than a year.",
        ),
        "It copies new recordings to the archive.",
        "It deletes recordings older than a year.",
    ),
    (
        "Which material are the blades of the Norrin turbine made of?",
        ("The blades of the Norrin turbine are made of birch laminate, its tower of steel.",),
        "The blades are made of birch laminate.",
        "The blades are made of steel.",
    ),
    (
        "How much does a day ticket for the Selma ferry cost?",
        ("A single trip on the Selma ferry costs 3.50 euros; a day ticket is 9 euros.",),
        "A day ticket costs 9 euros.",
        "A day ticket costs 3.50 euros.",
    ),
    (
        "Why was the Orlo bridge closed in March?",
        (
            "In March the Orlo bridge was closed because divers had found cracks in its second "
            "pillar. It has been open to cyclists again since May.",
        ),
        "It was closed because divers had found cracks in the second pillar.",
        "It was closed because of a festival for cyclists.",
    ),
    (
        "Wie lange ist der Ausweis der Bücherei gültig?",
        ("Der Ausweis der Bücherei ist zwei Jahre gültig. Kinder zahlen keine Gebühr.",),
        "Der Ausweis ist zwei Jahre gültig.",
        "Der Ausweis ist fünf Jahre gültig.",
    ),
    (
        "Is the trail to Lake Ummin open in winter?",
        ("The trail to Lake Ummin is closed from November to April. Dogs must be on a lead.",),
        "No, the trail is closed from November to April.",
        "Yes, the trail to Lake Ummin is open in winter.",
    ),
)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "full stop": lambda text: text.rstrip("."),
    "bold": lambda text: f"**{text}**",
    "one bold word": lambda text: text.replace(text.split()[1], f"**{text.split()[1]}**", 1),
    "first letter": lambda text: text[0].lower() + text[1:],
    "capitals": str.upper,
    "white space": lambda text: f" {text.replace(' ', '  ', 2)}\n",
    "no-break space": lambda text: text.replace(" ", "\u00a0"),
    "zero width": lambda text: text.replace("e", "e\u200b").replace(" ", " \u2060"),
    "soft hyphen": lambda text: text.replace("e", "e\u00ad", 1),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "composed": lambda text: unicodedata.normalize("NFC", text),
}


def batch_of(case: int, answers: Sequence[str], batch_id: UUID | None = None) -> Batch:
    question, passages, *_ = CASES[case]
    contexts = tuple(context(text, 0.6, chunk_index=n) for n, text in enumerate(passages))
    return batch(answers, question=question, contexts=contexts, batch_id=batch_id)


async def judged(panel: Panel, of: Batch) -> dict[UUID, Verification | FailedVerification]:
    claims = [
        Claim(
            answer_event_id=candidate.event_id,
            question=of.question,
            answer=candidate.answer,
            contexts=tuple(found.content for found in of.contexts),
            retrieval_score=0.6,
        )
        for candidate in of.candidates
    ]
    results = await panel.verify(claims)
    return {
        claim.answer_event_id: FailedVerification(
            answer_event_id=claim.answer_event_id,
            reason=str(result),
            attempts=1,
            completed_at=DECIDED,
        )
        if isinstance(result, JudgeError)
        else result
        for claim, result in zip(claims, results, strict=True)
    }


async def scores(panel: Panel, of: Batch) -> dict[str, float | None]:
    """By text; a text that stands there twice must have one score."""
    results = await judged(panel, of)
    found: dict[str, float | None] = {}
    for candidate in of.candidates:
        result = results[candidate.event_id]
        value = score(result) if isinstance(result, Verification) else None
        assert found.setdefault(candidate.answer, value) == value
    return found


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: CASES[case][0][:30])
async def test_spellings_of_one_answer_make_no_pair(case: int) -> None:
    settings = load()
    wrong: list[str] = []
    async with factory.local_panel(settings) as panel:
        for answer in CASES[case][2:]:
            spelled = {name: spell(answer) for name, spell in SPELLINGS.items()}
            wanted = {name: [answer, text, answer] for name, text in spelled.items()}
            wanted["several"] = [answer, *list(spelled.values())[:7]]
            for name, answers in wanted.items():
                of = batch_of(case, answers)
                outcome = decide(of, await judged(panel, of), settings.dpo.rule(), DECIDED)
                if outcome.reason is not Reason.IDENTICAL_ANSWERS:
                    wrong.append(f"{name}: {outcome.reason or 'PAIR'}, {outcome.detail}")
    assert wrong == []


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: CASES[case][0][:30])
async def test_a_text_has_one_score_wherever_it_stands(case: int) -> None:
    right, wrong = CASES[case][2:]
    async with factory.local_panel(load()) as panel:
        alone = await scores(panel, batch_of(case, [right])) | await scores(
            panel, batch_of(case, [wrong])
        )
        assert None not in alone.values()
        for number, answers in enumerate(
            [
                [right, wrong],
                [wrong, right],
                [wrong, "I like trains.", right],
                [right, right, wrong],
            ]
        ):
            other_ids = ids.derive("spellings", case, number)
            found = await scores(panel, batch_of(case, answers, other_ids))
            assert {text: found[text] for text in alone} == alone, answers
