"""Ids and seeds: the same for the same fact, different for any other, for ever."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_ray.core import ids
from tests.strategies import texts

BATCH = UUID("11111111-2222-5333-8444-555555555555")


def test_ids_never_change() -> None:
    """Ledgers in the world hold these: another value here would orphan them."""
    assert str(ids.NAMESPACE) == "7b9520b0-8193-5720-81f8-bb5594cb103d"
    assert str(ids.batch_for_key("order-66")) == "416de640-fca8-5b26-bb1a-148675f97b99"
    assert str(ids.answer_event(BATCH, 0)) == "e3f8d110-442d-5e01-b7f2-88df4d3e40fb"
    assert str(ids.verification_event(BATCH, 0)) == "52d41cd0-8e76-5a71-8dd5-37a9afdfc13b"
    assert str(ids.outcome_event(BATCH)) == "133b0d40-cdd9-5697-9044-cf2b40b82374"
    assert ids.seed(BATCH, 0) == 337_358_983


def test_ids_are_uuid5() -> None:
    assert ids.derive("a").version == 5


@settings(max_examples=40)
@given(st.lists(texts | st.integers() | st.uuids(), max_size=4))
def test_the_same_parts_give_the_same_id(parts: list[object]) -> None:
    assert ids.derive(*parts) == ids.derive(*parts)
    assert ids.seed(*parts) == ids.seed(*parts)


@settings(max_examples=40)
@given(st.lists(texts.filter(lambda text: "\x1f" not in text), min_size=1, max_size=4), st.data())
def test_parts_do_not_run_together(parts: list[str], data: st.DataObject) -> None:
    """``("ab", "c")`` is not ``("a", "bc")``, and order counts."""
    other = data.draw(st.permutations(parts))
    assert (ids.derive(*other) == ids.derive(*parts)) == (other == parts)
    if len(parts) > 1:
        assert ids.derive("".join(parts)) != ids.derive(*parts)
        assert ids.derive(parts[0] + parts[1], *parts[2:]) != ids.derive(*parts)


def test_every_event_of_many_batches_has_an_id_of_its_own() -> None:
    batches = [ids.batch_for_key(f"key {number}") for number in range(50)]
    found = [
        *batches,
        *(ids.answer_event(batch, index) for batch in batches for index in range(8)),
        *(ids.verification_event(batch, index) for batch in batches for index in range(8)),
        *(ids.outcome_event(batch) for batch in batches),
    ]
    assert len(set(found)) == len(found) == 50 * 18


@settings(max_examples=40)
@given(st.lists(texts | st.integers() | st.uuids(), max_size=3))
def test_a_seed_is_one_that_every_engine_takes(parts: list[object]) -> None:
    seed = ids.seed(*parts)
    assert type(seed) is int
    assert 0 <= seed < 2**31


def test_seeds_differ_between_candidates_and_use_their_range() -> None:
    seeds = [ids.seed(BATCH, index) for index in range(1000)]
    assert len(set(seeds)) > 990
    assert min(seeds) < 2**31 * 0.01
    assert max(seeds) > 2**31 * 0.99


def test_a_seed_depends_on_all_of_its_parts() -> None:
    assert len({ids.seed(BATCH, 1), ids.seed(BATCH, 2), ids.seed(7, 1), ids.seed(1, 7)}) == 4


def test_the_batch_of_an_event_is_found_among_many() -> None:
    batches = [ids.derive("batch", n) for n in range(50)]
    names = [str(batch_id) for batch_id in batches]
    for event_id in ids.events_of(batches[31], 3):
        assert ids.batch_of(event_id, names, 8) == batches[31]
        assert ids.batch_of(event_id, names[:31], 8) is None
    assert len(set(ids.events_of(batches[31], 3))) == 7
    assert ids.batch_of(ids.answer_event(batches[31], 3), names, 3) is None
    assert ids.batch_of(batches[0], names, 8) is None
