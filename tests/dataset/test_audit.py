"""`rlvr verify-store`: a sound store has no problem, and each kind of damage is found."""

import json
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from rlvr_ray.core.errors import LedgerError
from rlvr_ray.core.pairing import PairingRule, decide
from rlvr_ray.dataset.files import Dataset
from rlvr_ray.dataset.ledger import Ledger
from rlvr_ray.dataset.projection import Projector
from rlvr_ray.pipeline import maintenance
from rlvr_ray.settings import Settings, load
from tests.builders import DECIDED, batch, failed, verification

pytestmark = pytest.mark.integration


def fill(folder: Path) -> Settings:
    """Six decided batches in three parts a dataset, some rows in none, and one open batch."""
    settings = load(data_dir=folder, dataset={"seal_rows": 2})
    ledger = Ledger(folder)
    projector = Projector(ledger, ledger.write, Dataset(folder), settings.dataset)
    for number in range(7):
        asked = batch(question=f"Question {number}?")
        ledger.write(Ledger.record, [asked])
        if number == 6:
            break
        results = {
            c.event_id: failed(c, "no judge") if number == 4 else verification(c, 0.9 - c.index / 4)
            for c in asked.candidates
        }
        outcome = decide(asked, results, PairingRule(), DECIDED)
        ledger.write(Ledger.decide, asked, results, outcome)
        projector.project()
        projector.seal_due()
    ledger.close()
    return settings


@pytest.fixture
def store(tmp_path: Path) -> Settings:
    return fill(tmp_path)


def change(settings: Settings, sql: str) -> None:
    db = apsw.Connection(str(settings.data_dir / "ledger.db"))
    db.execute(sql)
    db.close()


def test_a_sound_store_has_no_problem(store: Settings) -> None:
    assert maintenance.verify_store(store) == []


def test_it_reads_beside_a_writer_and_changes_nothing(store: Settings) -> None:
    ledger = Ledger(store.data_dir)
    before = {f: f.read_bytes() for f in store.data_dir.rglob("*_data/**/*") if f.is_file()}
    ledger.write(Ledger.record, [batch(question="While it reads?")])
    assert maintenance.verify_store(store) == []
    assert {f: f.read_bytes() for f in before} == before
    ledger.close()


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no ledger"):
        maintenance.verify_store(load(data_dir=tmp_path))
    with pytest.raises(LedgerError, match="holds no ledger"):
        maintenance.rebuild(load(data_dir=tmp_path))


def test_a_rule_on_record_may_know_fewer_settings(store: Settings) -> None:
    """Those of an earlier version; what it lacks has its default."""
    with apsw.Connection(str(store.data_dir / "ledger.db")) as db:
        db.execute(
            "UPDATE outcome SET record = "
            "json_remove(record, '$.rule.strategy', '$.rule.max_length_ratio')"
        )
    assert maintenance.rebuild(store)
    assert maintenance.verify_store(store) == []


def as_first_rule(settings: Settings) -> None:
    """Have every outcome be of the rule's first version: it asked for no defect."""
    new = ("version", "min_chosen_faithfulness", "min_chosen_relevancy", "rejected_needs_defect")
    gone = ", ".join(f"'$.rule.{name}'" for name in new)
    change(settings, f"UPDATE outcome SET record = json_remove(record, {gone})")


def without_defects(settings: Settings) -> None:
    """Have no verifier say anything against an answer, whatever it scores."""
    change(
        settings,
        "UPDATE verification SET record = json_set(record, "
        "'$.assessments[0].faithfulness', 0.9, '$.assessments[0].statements', json('[]')) "
        "WHERE completed",
    )


def test_an_outcome_of_another_version_of_the_rule_is_not_decided_again(store: Settings) -> None:
    without_defects(store)
    problems = maintenance.verify_store(store)
    assert [p for p in problems if "does not follow" in p], "today it would be no pair"
    as_first_rule(store)
    assert maintenance.rebuild(store)
    assert maintenance.verify_store(store) == []
    rows = [json.loads(line) for line in jsonl(store.data_dir).read_text("utf-8").splitlines()]
    assert {row["metadata"]["rule"]["version"] for row in rows} == {1}
    assert {row["metadata"]["rejected_provenance"]["defect"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "UPDATE outcome SET record = json_set(record, '$.chosen_score', 0.95) WHERE seq = 1",
            "gives answer 1 a score that its results do not",
        ),
        (
            "UPDATE outcome SET record = json_set(record, '$.rejected', 1) WHERE seq = 1",
            "gives answer 2 a score that its results do not",
        ),
        (
            "UPDATE outcome SET record = json_set(record, '$.rejected', 7) WHERE seq = 1",
            "gives answer 8 a score that its results do not",
        ),
        (
            "UPDATE outcome SET record = json_set(record, '$.rejected', 0) WHERE seq = 1",
            "a pair needs two candidates",
        ),
        (
            "UPDATE outcome SET record = json_set(record, '$.chosen_score', 0.4) WHERE seq = 1",
            "a pair needs a positive margin",
        ),
        ("DELETE FROM verification WHERE batch = 1 AND candidate = 1", "without a result"),
    ],
)
def test_what_holds_of_any_pair_is_looked_at_whatever_the_version(
    store: Settings, sql: str, said: str
) -> None:
    as_first_rule(store)
    change(store, sql)
    problems = maintenance.verify_store(store)
    assert any(said in problem for problem in problems), problems


LEDGER_DAMAGE = {
    "an outcome that does not follow": (
        "UPDATE outcome SET record = json_set(record, '$.chosen_score', 0.95) WHERE seq = 1",
        "does not follow",
    ),
    "a pair turned round": (
        "UPDATE outcome SET record = json_set(record, '$.chosen', 2, '$.rejected', 0) "
        "WHERE seq = 1",
        "does not follow",
    ),
    "a score changed later": (
        "UPDATE verification SET record = json_set(record, '$.assessments[0].score', 0.1) "
        "WHERE batch = 1 AND candidate = 0",
        "does not follow",
    ),
    "a weight changed later": (
        "UPDATE verification SET record = json_set(record, '$.assessments[0].weight', 0) "
        "WHERE batch = 1 AND candidate = 0",
        "cannot be read",  # nothing counts any more
    ),
    "an assessment added later": (
        "UPDATE verification SET record = json_insert(record, '$.assessments[#]', "
        "json_set(json_extract(record, '$.assessments[0]'), '$.score', 0.1)) "
        "WHERE batch = 1 AND candidate = 0",
        "does not follow",
    ),
    "a result lost": (
        "DELETE FROM verification WHERE batch = 1 AND candidate = 1",
        "without a result",
    ),
    "a decided batch that is open": ("UPDATE batch SET open = 1 WHERE seq = 2", "open and decided"),
    "a closed batch without an outcome": (
        "UPDATE batch SET open = 0 WHERE seq = 7",
        "open and decided",
    ),
    "an event lost": ("DELETE FROM outbox WHERE seq = 2", "events"),
    "an event twice": (
        "INSERT INTO outbox (kind, batch, candidate, at) VALUES ('outcome', 1, NULL, 1)",
        "events",
    ),
    "events out of order": (
        "UPDATE outbox SET seq = -1 WHERE kind = 'outcome' AND batch = 1",
        "events",
    ),
    "a record that is none": (
        "UPDATE batch SET record = json_set(record, '$.question', 7) WHERE seq = 3",
        "cannot be read",
    ),
    "a record with a NUL": (
        "UPDATE batch SET record = json_set(record, '$.question', char(0)) WHERE seq = 3",
        "cannot be read",
    ),
    "an orphan": (
        "PRAGMA foreign_keys = 0; UPDATE verification SET batch = 99 WHERE batch = 1",
        "missing batch",
    ),
    "files beyond the outcomes": ("UPDATE mark SET seq = 99 WHERE name = 'projected'", "beyond"),
    "events beyond the last": ("UPDATE mark SET seq = 999 WHERE name = 'mirrored'", "beyond"),
    "a range with a hole": (
        "DELETE FROM part WHERE dataset = 'training_data' AND first_seq = 2",
        "are in no part",
    ),
    "ranges that overlap": (
        "UPDATE part SET first_seq = 1 WHERE dataset = 'training_data' AND first_seq = 2",
        "overlaps",
    ),
}


@pytest.mark.parametrize("name", LEDGER_DAMAGE)
def test_damage_in_the_ledger_is_found(store: Settings, name: str) -> None:
    sql, said = LEDGER_DAMAGE[name]
    change(store, sql)
    problems = maintenance.verify_store(store)
    assert any(said in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_a_damaged_page_is_found(store: Settings) -> None:
    change(store, "PRAGMA wal_checkpoint(TRUNCATE)")
    with (store.data_dir / "ledger.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 2000)
    try:
        problems = maintenance.verify_store(store)
    except LedgerError as error:
        problems = [str(error)]
    assert problems


def jsonl(folder: Path) -> Path:
    (file,) = (folder / "dpo_data").glob("*.jsonl")
    return file


def part(folder: Path) -> Path:
    return sorted((folder / "training_data" / "parquet").glob("*.parquet"))[0]


def _edit(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"score_diff":0.25', b'"score_diff":0.35', 1))
    assert file.read_bytes() != data


def _swap(file: Path) -> None:
    first, second, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([second, first, *rest]))


def _double(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], *lines]))


def damage(act: Callable[[Path], object], find: Callable[[Path], Path]) -> Callable[[Path], str]:
    def apply(folder: Path) -> str:
        file = find(folder)
        act(file)
        return file.relative_to(folder).as_posix()

    return apply


FILE_DAMAGE: dict[str, Callable[[Path], str]] = {
    "a figure edited": damage(_edit, jsonl),
    "two rows swapped": damage(_swap, jsonl),
    "a row twice": damage(_double, jsonl),
    "the last row lost": damage(lambda f: f.write_bytes(f.read_bytes()[:-10]), jsonl),
    "JSONL gone": damage(Path.unlink, jsonl),
    "a part gone": damage(Path.unlink, part),
    "a part cut": damage(lambda f: f.write_bytes(f.read_bytes()[:-1]), part),
    "a part of other rows": damage(
        lambda f: f.write_bytes(sorted(f.parent.glob("*.parquet"))[1].read_bytes()), part
    ),
    "a foreign part": damage(lambda f: f.write_bytes(b"PAR1"), lambda d: part(d).with_stem("x")),
    "a foreign file": damage(lambda f: f.write_text("{}\n"), lambda d: jsonl(d).with_stem("x")),
}


@pytest.mark.parametrize("name", FILE_DAMAGE)
def test_damage_in_the_files_is_found_and_named(store: Settings, name: str) -> None:
    path = FILE_DAMAGE[name](store.data_dir)
    problems = maintenance.verify_store(store)
    assert [problem for problem in problems if problem.startswith(path)], problems


@pytest.mark.parametrize("name", [name for name in FILE_DAMAGE if "foreign" not in name])
def test_a_rebuild_mends_what_is_found(store: Settings, name: str) -> None:
    before = {f: f.read_bytes() for f in store.data_dir.glob("*_data/**/*") if f.is_file()}
    path = FILE_DAMAGE[name](store.data_dir)
    rebuilt = maintenance.rebuild(store)
    assert path in rebuilt
    assert {f: f.read_bytes() for f in before} == before
    assert maintenance.verify_store(store) == []


def test_a_torn_tail_is_no_problem(store: Settings) -> None:
    """A write that was under way: it is cut at the next start."""
    file = jsonl(store.data_dir)
    with file.open("ab") as stream:
        stream.write(b'{"prompt": "half a li')
    assert maintenance.verify_store(store) == []


def test_a_rebuild_says_what_was_different(store: Settings) -> None:
    path = FILE_DAMAGE["a figure edited"](store.data_dir)
    said = maintenance.rebuild(store)
    assert said[path] is False
    assert all(same for other, same in said.items() if other != path)
    assert all(maintenance.rebuild(store).values())


def test_a_rebuild_leaves_a_working_system_alone(store: Settings) -> None:
    ledger = Ledger(store.data_dir)
    with pytest.raises(LedgerError, match="in use"):
        maintenance.rebuild(store)
    ledger.close()


def test_rows_parse_after_all(store: Settings) -> None:
    rows = [json.loads(line) for line in jsonl(store.data_dir).read_text("utf-8").splitlines()]
    assert len(rows) == 5
