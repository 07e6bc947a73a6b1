"""One line a record, with the batch that it is about, for people and for machines."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from rlvr_ray.observability import logs
from rlvr_ray.settings import LogSettings

BATCH = UUID("123e4567-e89b-42d3-a456-426614174000")
log = logging.getLogger("rlvr_ray.somewhere")
Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configures logging for the length of a test; what is written can be read."""
    logger = logging.getLogger("rlvr_ray")
    before = logger.handlers[:], logger.level, logger.propagate

    def configured(least: str = "NOTSET", **settings: Any) -> io.StringIO:
        stream = io.StringIO()
        logs.configure(LogSettings(**settings), stream, least)
        return stream

    yield configured
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def test_json(configure: Configure) -> None:
    stream = configure(format="json")
    with logs.about(BATCH, "caller-7"):
        log.info("recorded: %d answers", 3)
    (line,) = lines(stream)
    time = datetime.fromisoformat(line.pop("time"))
    assert abs(time - datetime.now(UTC)) < timedelta(minutes=1)
    assert line == {
        "level": "INFO",
        "logger": "rlvr_ray.somewhere",
        "message": "recorded: 3 answers",
        "batch_id": str(BATCH),
        "correlation_id": "caller-7",
    }


def test_a_line_about_no_batch_has_the_keys_all_the_same(configure: Configure) -> None:
    stream = configure(format="json")
    log.warning("the broker is away")
    (line,) = lines(stream)
    assert line["batch_id"] is None and line["correlation_id"] is None


def test_an_error_is_one_line_with_its_traceback(configure: Configure) -> None:
    stream = configure(format="json")
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("it failed")
    (line,) = lines(stream)
    assert line["message"] == "it failed" and "ValueError: a\nb" in line["error"]


def test_text(configure: Configure) -> None:
    stream = configure(format="text")
    with logs.about(BATCH, "caller-7"):
        log.info("recorded")
    log.warning("later")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(
        f" INFO rlvr_ray.somewhere: recorded (batch {BATCH}, correlation caller-7)"
    )
    assert second.endswith(" WARNING rlvr_ray.somewhere: later")
    datetime.fromisoformat(first.split()[0])


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\u2029"])
def test_nobody_writes_a_line_of_his_own(configure: Configure, format_: str, end: str) -> None:
    stream = configure(format=format_)
    with logs.about(BATCH, f"mine{end}2026-01-01 INFO rlvr_ray: forged"):
        log.info("a%sb", end)
    assert len(stream.getvalue().splitlines()) == 1
    if format_ == "json":
        (line,) = lines(stream)
        assert line["message"] == f"a{end}b"


def test_levels(configure: Configure) -> None:
    stream = configure(level="WARNING", format="json")
    log.info("too little")
    log.warning("enough")
    assert [line["message"] for line in lines(stream)] == ["enough"]
    for level, least, told in (("DEBUG", "WARNING", 1), ("ERROR", "WARNING", 0)):
        stream = configure(level=level, least=least, format="json")
        log.info("never")
        log.warning("perhaps")
        assert len(lines(stream)) == told, (level, least)


def test_configuring_again_does_not_write_twice(configure: Configure) -> None:
    old, new = configure(), configure(format="json")
    log.info("once")
    assert not old.getvalue() and len(lines(new)) == 1


def test_nothing_is_written_elsewhere(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.StreamHandler()
    logging.getLogger().addHandler(root)
    try:
        configure()
        log.warning("only there")
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr() == ("", "")


async def test_tasks_are_about_their_own_batch(configure: Configure) -> None:
    stream = configure(format="json")

    async def work(number: int) -> None:
        with logs.about(UUID(int=number), f"caller-{number}"):
            log.info("begins %d", number)
            await asyncio.sleep(0)
            await asyncio.create_task(deeper(number))

    async def deeper(number: int) -> None:
        log.info("goes on %d", number)

    await asyncio.gather(*(work(number) for number in range(5)))
    log.info("after")
    found = lines(stream)
    assert found.pop()["batch_id"] is None
    assert len(found) == 10
    for line in found:
        number = line["message"].split()[-1]
        assert line["correlation_id"] == f"caller-{number}"
        assert line["batch_id"] == str(UUID(int=int(number)))
