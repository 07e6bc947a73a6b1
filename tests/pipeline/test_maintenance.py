"""The commands that look after a store and its broker."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pytest
from typer.testing import CliRunner, Result

from rlvr_ray.cli.main import app
from rlvr_ray.dataset.ledger import Ledger, Reader
from rlvr_ray.events import outbox
from rlvr_ray.events.rabbitmq import RabbitMQ
from rlvr_ray.settings import load
from tests.broker import Broker
from tests.builders import batch

pytestmark = pytest.mark.integration


def rlvr(*arguments: str, **env: object) -> Result:
    settings = {f"RLVR_{name}": str(value) for name, value in env.items()}
    return CliRunner().invoke(app, list(arguments), env=settings, catch_exceptions=False)


def checks(result: Result) -> dict[str, tuple[str, str]]:
    return {check["name"]: (check["state"], check["detail"]) for check in json.loads(result.stdout)}


def record(folder: Path, count: int) -> None:
    ledger = Ledger(folder)
    ledger.write(Ledger.record, [batch(question=f"q{n}?") for n in range(count)])
    ledger.close()


class TestDoctor:
    def test_a_new_folder_is_fine(self, tmp_path: Path) -> None:
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path / "new")
        found = checks(result)
        assert result.exit_code == 0, result.output
        assert {name: state for name, (state, _) in found.items() if name != "fsync"} == {
            "server": "ok",
            "disk": "ok",
            "ledger": "ok",
            "documents": "ok",
            "generator": "ok",
            "verifiers": "ok",
            "judge": "ok",
            "mirror": "ok",
        }
        assert "off" in found["mirror"][1]
        assert found["verifiers"][1].startswith(
            "grounded: SmolLM2-135M-Instruct.Q4_1 has 0.14 billion"
        )
        assert found["judge"][1] == "none: these verifiers ask no language model"

    def test_who_verifies_is_told_though_the_judge_is_away(self, tmp_path: Path) -> None:
        judge = {
            "JUDGE__ENGINE": "openai",
            "JUDGE__BASE_URL": "http://127.0.0.1:1/v1",
            "JUDGE__MODEL": "qwen2.5:7b",
            "JUDGE__CAPABILITIES": '["logprobs"]',
        }
        found = checks(rlvr("doctor", "--json", DATA_DIR=tmp_path, **judge))
        why = "logprob: qwen2.5:7b judges, and judge.capabilities has `logprobs`"
        assert found["verifiers"] == ("ok", why)
        assert found["judge"][0] == "failed"

    def test_a_judge_that_nobody_asks_is_not_asked_either(self, tmp_path: Path) -> None:
        judge = {
            "JUDGE__ENGINE": "openai",
            "JUDGE__BASE_URL": "http://127.0.0.1:1/v1",
            "JUDGE__MODEL": "qwen2.5:0.5b",
        }
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path, **judge)
        assert result.exit_code == 0, result.output
        assert checks(result)["verifiers"][1].startswith("grounded: qwen2.5:0.5b has 0.5 billion")

    def test_a_judge_that_does_not_answer_is_told(self, tmp_path: Path) -> None:
        judge = {
            "JUDGE__ENGINE": "openai",
            "JUDGE__BASE_URL": "http://127.0.0.1:1/v1",
            "JUDGE__MODEL": "m",
            "JUDGE__API_KEY": "sk-secret",
        }
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path, **judge)
        assert result.exit_code == 1
        assert checks(result)["judge"][0] == "failed"
        assert "sk-secret" not in result.output

    def test_a_verifier_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path, VERIFICATION__VERIFIERS='["vibes"]')
        state, detail = checks(result)["judge"]
        assert (state, "there is no vibes" in detail) == ("failed", True)

    def test_a_full_disk_is_told(self, tmp_path: Path) -> None:
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path, LEDGER__MIN_FREE_MB=2**40)
        assert result.exit_code == 1
        assert checks(result)["disk"][0] == "failed"

    def test_a_ledger_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
        result = rlvr("doctor", "--json", DATA_DIR=tmp_path)
        assert result.exit_code == 1
        assert checks(result)["ledger"][0] == "failed"

    def test_a_broker_is_looked_at(
        self, tmp_path: Path, broker: Broker, exchange_name: str
    ) -> None:
        record(tmp_path, 2)
        env = {
            "DATA_DIR": tmp_path,
            "MIRROR__URL": broker.url,
            "MIRROR__EXCHANGE": exchange_name,
        }
        found = checks(rlvr("doctor", "--json", **env))
        assert found["broker"][0] == found["permissions"][0] == found["bindings"][0] == "ok"
        assert found["backlog"][1].startswith("6 events wait")

        said = rlvr("events", "replay", "--since", "2026-01-01", **env)
        assert said.output.strip().endswith("6 events published again")
        found = checks(rlvr("doctor", "--json", **env))
        assert found["bindings"][0] == "warning"
        assert found["bindings"][1].startswith("6 events")

    def test_missing_rights_are_told(
        self, tmp_path: Path, broker: Broker, exchange_name: str
    ) -> None:
        RIGHTS = f"^{exchange_name}.unrouted$"
        asyncio.run(_declare(broker.url, exchange_name))
        url = broker.add_user(f"user-{exchange_name}", "pass-word", write=RIGHTS)
        result = rlvr(
            "doctor", "--json", DATA_DIR=tmp_path, MIRROR__URL=url, MIRROR__EXCHANGE=exchange_name
        )
        assert result.exit_code == 1
        state, detail = checks(result)["permissions"]
        assert state == "failed"
        assert "refuses" in detail
        assert "pass-word" not in result.output

    def test_a_broker_that_is_away_is_told(self, tmp_path: Path) -> None:
        result = rlvr("doctor", DATA_DIR=tmp_path, MIRROR__URL="amqp://127.0.0.1:1/")
        assert result.exit_code == 1
        assert "failed" in result.output
        assert "is not there" in " ".join(result.output.split())


async def _declare(url: str, exchange: str) -> None:
    publisher = RabbitMQ(load(mirror={"url": url, "exchange": exchange}).mirror)
    await publisher.open()
    await publisher.close()


class TestReplay:
    def test_the_same_events_with_the_same_ids(
        self, tmp_path: Path, broker: Broker, exchange_name: str
    ) -> None:
        record(tmp_path, 300)
        asyncio.run(_declare(broker.url, exchange_name))

        async def listen() -> None:
            async with await aio_pika.connect(broker.url) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue(f"{exchange_name}.q", durable=True)
                await queue.bind(exchange_name, "#")

        async def heard() -> list[str]:
            found = []
            async with await aio_pika.connect(broker.url) as connection:
                channel = await connection.channel()
                queue = await channel.get_queue(f"{exchange_name}.q")
                while message := await queue.get(fail=False, no_ack=True):
                    found.append(str(message.message_id))
            return found

        asyncio.run(listen())
        env = {
            "DATA_DIR": tmp_path,
            "MIRROR__URL": broker.url,
            "MIRROR__EXCHANGE": exchange_name,
        }
        for _ in range(2):
            assert rlvr("events", "replay", "--since", "2026-01-01T00:00:00", **env).exit_code == 0
        ledger = Reader(tmp_path)
        ids = [str(posted.event.event_id) for posted in outbox.events(ledger, 0, 10_000)]
        assert ledger.mark("mirrored") == 0, "a replay is not the mirror"
        ledger.close()
        found = asyncio.run(heard())
        assert sorted(found[:900]) == sorted(found[900:]) == sorted(ids)

    def test_since_when(self, tmp_path: Path, broker: Broker, exchange_name: str) -> None:
        record(tmp_path, 1)
        env = {
            "DATA_DIR": tmp_path,
            "MIRROR__URL": broker.url,
            "MIRROR__EXCHANGE": exchange_name,
        }
        tomorrow = f"{datetime.now(UTC).year + 1}-01-01"
        assert "0 events" in rlvr("events", "replay", "--since", tomorrow, **env).output
        assert rlvr("events", "replay", "--since", "soon", **env).exit_code == 2
        assert rlvr("events", "replay", **env).exit_code == 2

    def test_without_a_broker_it_says_what_to_set(self, tmp_path: Path) -> None:
        record(tmp_path, 1)
        result = rlvr("events", "replay", "--since", "2026-01-01", DATA_DIR=tmp_path)
        assert result.exit_code == 2
        assert "mirror.url" in result.output
        result = rlvr("events", "tail", DATA_DIR=tmp_path)
        assert result.exit_code == 2
        assert "mirror.url" in result.output


@pytest.mark.parametrize("wrong", ["password", "exchange"])
def test_a_wrong_broker_ends_the_start_with_one_line(
    tmp_path: Path, broker: Broker, exchange_name: str, wrong: str
) -> None:
    url = broker.url
    if wrong == "password":
        url = url.replace("guest:guest", "guest:not-the-word")
    else:

        async def declare() -> None:
            async with await aio_pika.connect(url) as connection:
                channel = await connection.channel()
                await channel.declare_exchange(exchange_name, "fanout", durable=True)

        asyncio.run(declare())
    env = {
        "RLVR_DATA_DIR": str(tmp_path),
        "RLVR_MIRROR__URL": url,
        "RLVR_MIRROR__EXCHANGE": exchange_name,
    }
    done = subprocess.run(
        [sys.executable, "-m", "rlvr_ray.cli", "serve"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | env,
        check=False,
    )
    assert done.returncode == 2
    said = done.stderr.strip()
    assert said.startswith("rlvr: the broker refuses")
    assert "not-the-word" not in said
    assert "Traceback" not in said
