"""Which pairs contradict each other: exactly those that lie on a cycle of preferences."""

from hypothesis import given
from hypothesis import strategies as st

from rlvr_ray.training.export.contradictions import Preferences

pairs = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 5)).filter(
        lambda pair: pair[1] != pair[2]
    ),
    max_size=14,
)


@given(pairs)
def test_what_lies_on_a_cycle_is_contradicted(found: list[tuple[str, int, int]]) -> None:
    preferences = Preferences()
    for number, (question, better, worse) in enumerate(found):
        preferences.add(f"batch {number}", f"{question}?", f"answer {better}", f"answer {worse}")
    contradictions = preferences.contradictions()
    for number, (question, better, worse) in enumerate(found):
        back, reached = {worse}, {worse}
        while back:
            back = {w for q, b, w in found if q == question and b in back} - reached
            reached |= back
        on_a_cycle = better in reached
        texts = (f"{question.upper()} ?", f"**Answer {better}**", f"answer {worse}.")
        assert contradictions.has(*texts) == on_a_cycle
        assert (f"batch {number}" in contradictions.batches) == on_a_cycle


def test_a_long_chain_is_walked() -> None:
    preferences = Preferences()
    for number in range(5_000):
        preferences.add("chain", "Which?", f"answer {number}", f"answer {number + 1}")
    assert not preferences.contradictions().batches
    preferences.add("chain", "Which?", "answer 5000", "answer 0")
    assert len(preferences.contradictions().preferences) == 5_001
