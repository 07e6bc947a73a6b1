"""The main job on real parts, and what must hold when it is disturbed. Order matters: the first
test wants an empty store, the last one stops the server."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from rlvr_ray.bulk.question_making.gates import reads_as_question, stands_alone
from rlvr_ray.cli import demo
from rlvr_ray.client import Batch, Candidate, Verification, servers
from rlvr_ray.core.errors import InputError, RlvrError
from rlvr_ray.events import validate
from tests.broker import Broker
from tests.browser.fixtures import SHOTS
from tests.cluster.conftest import RLVR, System
from tests.patience import PATIENCE_S

QUESTION = "What is Ray Serve?"
#: Longest wait of the page for the embedded engine, in milliseconds.
ENGINE_MS = 120_000
GIB = 2**30


def ask(system: System, question: str = QUESTION, seed: int | None = None) -> Batch:
    return system.client.ask(question, top_k=2, seed=seed)


def wait(system: System, batch_id: str) -> Batch:
    """The decided batch, though the ingress may be away for a while."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return system.client.wait(batch_id)
        except RlvrError:
            assert time.monotonic() < deadline, "the ingress did not come back"
            time.sleep(0.2)


def test_nothing_to_search_is_said(system: System) -> None:
    reply = system.http.post("/ask/multi-candidate", json={"question": QUESTION})
    assert reply.status_code == 409
    assert reply.headers["content-type"] == "application/problem+json"
    assert "rlvr ingest" in reply.json()["detail"]


def test_documents_are_ingested_once(system: System, tmp_path: Path) -> None:
    for name in ("ray", "qdrant-client", "fastapi"):
        (tmp_path / f"{name}.md").write_text(str(metadata(name).json["description"]), "utf-8")
    first = json.loads(system.rlvr("ingest", str(tmp_path), "--url", system.url, "--json"))
    before = system.client.stats().passages
    again = json.loads(system.rlvr("ingest", str(tmp_path), "--url", system.url, "--json"))
    assert [d["changed"] for d in first] == [True] * 3
    assert [d["changed"] for d in again] == [False] * 3
    assert system.client.stats().passages == before == sum(d["num_chunks"] for d in first)


def judged(candidate: Candidate) -> Verification:
    """A candidate's verification: a score, or what this small model wrote could not be scored."""
    verification = candidate.verification
    assert verification is not None
    if verification.status == "failed":
        ours = ("the answer abstains", "the answer talks", "verifiers disagree", "it abstains")
        assert verification.reason and verification.reason.startswith(ours), verification
    else:
        assert verification.score is not None and 0 <= verification.score <= 1, verification
    return verification


def test_a_question_becomes_rows(system: System) -> None:
    reply = system.http.post(
        "/ask/multi-candidate",
        json={"question": QUESTION, "num_candidates": 3, "correlation_id": "trace-1"},
    )
    assert reply.status_code == 200, reply.text
    asked = reply.json()
    assert asked["num_candidates"] == len(asked["candidates"]) == 3
    assert asked["correlation_id"] == "trace-1"
    assert len(asked["contexts"]) == 5
    metas = [candidate["metadata"] for candidate in asked["candidates"]]
    assert [meta["temperature"] for meta in metas] == [0.3, 0.7, 0.9]
    assert len({meta["seed"] for meta in metas}) == 3
    # One prefill: what the first sample computed, the others took over.
    usages = [meta["usage"] for meta in metas]
    for usage in usages[1:]:
        assert usage["cached_tokens"] >= usage["prompt_tokens"] - 1, usages

    decided = system.client.wait(asked["batch_id"])
    answers = [candidate["answer"] for candidate in asked["candidates"]]
    assert [candidate.answer for candidate in decided.candidates] == answers
    for candidate in decided.candidates:
        verification = judged(candidate)
        if verification.faithfulness is None:
            continue
        (grounded,) = verification.assessments
        assert (grounded.verifier, grounded.weight) == ("grounded", 1.0)
        assert grounded.judge["faithfulness"] == grounded.judge["relevancy"] == "grounded"
        assert grounded.judge["model"] == ""
        assert verification.relevancy is not None
        mean = (verification.faithfulness + verification.relevancy) / 2
        assert verification.score == pytest.approx(mean, abs=1e-6)
    rows = system.await_rows("training_data", asked["batch_id"], 3)
    assert [row["answer"] for row in rows] == answers
    assert {row["metadata"]["correlation_id"] for row in rows} == {"trace-1"}


def test_what_was_asked_is_found_and_taken_away(system: System) -> None:
    """Through Serve and the aggregator: lists, figures, streamed files, a review."""

    def get(path: str, **query: Any) -> httpx.Response:
        reply = system.http.get(path, params={"correlation_id": "trace-1", **query})
        assert reply.status_code < 300, f"{path}: {reply.status_code} {reply.text[:300]}"
        return reply

    page = get("/batches").json()
    (line,) = page["batches"]
    assert (line["question"], page["total"], page["next"]) == (QUESTION, 1, None)
    figures = get("/batches/histogram", of="chosen_score").json()
    assert figures["total"] + figures["missing"] == 1
    assert get("/batches", text="RAY SERVE").json()["total"] == 1
    assert line["models"] == get("/models").json()["models"]
    for path, dataset in (("/answers", "training_data"), ("/pairs", "dpo_data")):
        wanted = [
            row for row in system.jsonl(dataset) if row["metadata"]["correlation_id"] == "trace-1"
        ]
        sent = [json.loads(one) for one in get(path).text.split("\n") if one]
        assert sent == wanted
        table = pq.read_table(io.BytesIO(get(path, format="parquet").content))
        assert table.to_pylist() == wanted
    shown = get("/reviews/next")
    if line["outcome"] != "pair":  # what this small model writes differs by machine
        assert shown.status_code == 204
        return
    next_pair = shown.json()
    said = {name: next_pair[name]["candidate"] for name in ("a", "b")}
    body = {"batch_id": next_pair["batch_id"], "verdict": "tie", **said}
    assert system.http.post("/reviews", json=body).status_code == 201
    assert get("/reviews/summary").json()["tie"] == 1
    assert get("/pairs", human="true").content == b""


@pytest.mark.slow
def test_a_file_of_questions_becomes_batches_once(system: System, tmp_path: Path) -> None:
    """As a driver beside the running application; the second time nothing is asked."""
    lines = [json.dumps({"question": f"What is {name}?"}) for name in ("FastAPI", "Ray", "Qdrant")]
    questions, report = tmp_path / "questions.jsonl", tmp_path / "report.json"
    questions.write_text("\n".join([lines[0], "{", *lines[1:]]))

    def generate(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["jobs/generate.py", str(questions), "--run", "first", "--report", str(report)]
        return subprocess.run(
            [sys.executable, *command, *more],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=Path(__file__).parents[2],
            # Ray asks for a token where it starts a cluster by itself.
            env=system.env | {"RLVR_RAY_ADDRESS": system.ray_address, "RAY_AUTH_MODE": "token"},
            check=False,
        )

    def counts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(report.read_text())
        return {name: found[name] for name in ("read", "asked", "known", "undecided", "failures")}

    before = system.client.stats().batches
    first = counts(generate())
    after = system.client.stats().batches
    assert first == {
        "read": 4,
        "asked": 3,
        "known": 0,
        "undecided": 0,
        "failures": {"malformed": 1},
    }
    assert sum(after.values()) == sum(before.values()) + 3
    again = generate()
    assert again.returncode == 2 and "--resume" in again.stderr, again.stdout + again.stderr
    assert counts(generate("--resume")) == first | {"asked": 0, "known": 3}
    assert system.client.stats().batches == after


@pytest.mark.slow
def test_questions_are_made_from_the_documents(system: System, tmp_path: Path) -> None:
    """With the documents and the model of the running server, and then asked for more."""
    made = tmp_path / "made.jsonl"

    def questions(*more: str) -> dict[str, Any]:
        env = system.env | {"RLVR_RAY_ADDRESS": system.ray_address, "RAY_AUTH_MODE": "token"}
        command = ["questions", "--out", str(made), "--no-references", "--json", *more]
        done = subprocess.run(
            [*RLVR, *command], capture_output=True, text=True, timeout=280, env=env, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    first = questions("--limit", "2")
    assert first["passages"] == system.client.stats().passages
    assert (first["documents"], first["made"], first["stopped"]) == (3, 2, False)
    lines = made.read_bytes()
    second = questions("--limit", "3", "--resume")
    assert made.read_bytes().startswith(lines)
    assert second["made"] == 3
    assert second["done"] <= first["done"] + second["asked"] + second["left_out"].get("no_text", 0)
    rows = [json.loads(line) for line in made.read_text("utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == len({row["question"] for row in rows}) == 3
    for row in rows:
        document = Path(row["source"]).stem
        text = str(metadata(document).json["description"])
        assert 0 <= row["start"] < len(text)
        assert reads_as_question(row["question"]) and stands_alone(row["question"])


@pytest.mark.slow
def test_ten_questions_make_pairs_and_reasons(system: System) -> None:
    questions = [
        "What is FastAPI?",
        "What is the Ray Dashboard?",
        "How do I install FastAPI?",
        "What are the key features of FastAPI?",
        "What is Qdrant?",
        "Why should I use Ray?",
    ]
    states: list[Batch] = []
    for seed in range(1, 6):  # the small model seldom gives what a pair needs
        with ThreadPoolExecutor(2) as pool:
            batches = list(pool.map(partial(ask, system, seed=seed), questions))
        states += [system.client.wait(batch.batch_id) for batch in batches]
        if any(state.outcome and state.outcome.pair for state in states):
            break
    for state in states:
        assert state.outcome is not None
        assert state.outcome.pair is (state.outcome.reason is None)
        if state.chosen is None or state.rejected is None:
            assert not state.outcome.pair
            continue
        (row,) = system.await_rows("dpo_data", state.batch_id, 1)
        assert row["prompt"] == state.question
        assert row["chosen"] == state.chosen.answer
        assert row["rejected"] == state.rejected.answer
        assert row["chosen"] != row["rejected"]
        assert row["score_diff"] >= 0.05
        assert row["chosen_score"] >= 0.6
        assert row["metadata"]["contexts"] == state.raw["contexts"]
    assert any(state.chosen for state in states), "no question made a pair"


def test_one_answer_is_kept_and_makes_no_pair(system: System) -> None:
    reply = system.http.post("/ask", json={"question": QUESTION, "top_k": 1})
    assert reply.status_code == 200, reply.text
    state = system.client.wait(reply.json()["batch_id"])
    assert state.outcome and state.outcome.reason == "single_answer"
    system.await_rows("training_data", reply.json()["batch_id"], 1)


@pytest.mark.slow
def test_an_idempotency_key_names_one_batch(system: System) -> None:
    body = {"question": QUESTION, "top_k": 1, "num_candidates": 2}
    headers = {"Idempotency-Key": "the-same"}
    one = system.http.post("/ask/multi-candidate", json=body, headers=headers).json()
    two = system.http.post("/ask/multi-candidate", json=body, headers=headers).json()
    assert one == two
    other = system.http.post(
        "/ask/multi-candidate", json=body | {"question": "Another?"}, headers=headers
    )
    assert other.status_code == 422


@pytest.mark.slow
def test_a_key_belongs_to_one_request_while_it_runs(system: System) -> None:
    body = {"question": QUESTION, "top_k": 1, "num_candidates": 2}
    headers = {"Idempotency-Key": "another", "Prefer": "respond-async"}
    begun = system.http.post("/ask/multi-candidate", json=body, headers=headers)
    assert begun.status_code == 202
    for changes in ({"question": "Another?"}, {"top_k": 2}, {"temperatures": [0.1]}):
        for prefer in ("respond-async", "x"):
            refused = system.http.post(
                "/ask/multi-candidate", json=body | changes, headers=headers | {"Prefer": prefer}
            )
            assert (refused.status_code, refused.json()["error"]) == (422, "KeyReused")
    assert system.client.wait(begun.json()["batch_id"]).question == QUESTION
    # What comes after the last event is told from the start where no such event was told.
    for last_id in (b"x", b"\xb2", "٣".encode(), b"9" * 5000, b""):
        path = begun.json()["events"]
        with system.http.stream("GET", path, headers={b"Last-Event-ID": last_id}) as stream:
            told = [line for line in stream.iter_lines() if line.startswith("event: ")]
        assert told == ["event: state", "event: end"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"question": "   "}',
        b'{"question": "x", "num_candidates": 1}',
        b'{"question": "x", "num_candidates": 9}',
        b'{"question": "' + b"x" * 8001 + b'"}',
        b'{"question": "a\\u0000b"}',
        b'{"question": "a\\ud800b"}',
        b'{"question": NaN}',
    ],
)
def test_bad_questions_are_refused(system: System, body: bytes) -> None:
    reply = system.http.post(
        "/ask/multi-candidate", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["errors"][0]["field"] in {"question", "num_candidates"}


def test_killing_the_aggregator_loses_nothing(system: System) -> None:
    batch = ask(system)
    system.kill("ray::AggregatorActor")
    state = system.client.wait(batch.batch_id)
    assert state.outcome is not None
    rows = system.await_rows("training_data", batch.batch_id, 3)
    assert [row["answer"] for row in rows] == [c.answer for c in batch.candidates]
    pairs = [r for r in system.jsonl("dpo_data") if r["metadata"]["batch_id"] == batch.batch_id]
    assert len(pairs) == int(state.outcome.pair)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("replica", ["rlvr:Verifier", "rlvr:Generator", "rlvr:Ask"])
def test_a_killed_replica_delays_and_loses_nothing(system: System, replica: str) -> None:
    batch = ask(system)
    system.kill(f"ray::ServeReplica:{replica}")
    state = wait(system, batch.batch_id)
    assert [judged(candidate).status for candidate in state.candidates]
    system.await_rows("training_data", batch.batch_id, 3)
    deadline = time.monotonic() + PATIENCE_S
    while system.http.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, system.http.get("/readyz").text
        time.sleep(0.2)


@pytest.mark.slow
def test_a_judge_that_hangs_delays_and_loses_nothing(system: System) -> None:
    judge = system.actor("ray::ServeReplica:rlvr:Verifier")
    judge.suspend()
    try:
        batches = [ask(system), ask(system, "What is FastAPI?")]
        outcomes = [system.client.batch(batch.batch_id).outcome for batch in batches]
        assert outcomes == [None, None]
    finally:
        judge.resume()
    for batch in batches:
        state = system.client.wait(batch.batch_id)
        assert [judged(candidate).status for candidate in state.candidates]


def test_every_step_is_told_on_the_broker(system: System) -> None:
    system.await_mirrored()
    with system.tail("#") as events:
        batch = ask(system)
        heard = {}  # by id: an event may come twice
        for event in events:
            if event["batch_id"] == batch.batch_id:
                heard[event["event_id"]] = event
                if event["event_type"].startswith("pair."):
                    break
    told = list(heard.values())
    assert len(told) == 7
    answers = [c.event_id for c in batch.candidates]
    assert [event["event_id"] for event in told[:3]] == answers
    ended = {"verification.completed", "verification.failed"}
    assert {event["event_type"] for event in told[3:6]} <= ended
    assert [event["answer_event_id"] for event in told[3:6]] == answers
    state = system.client.wait(batch.batch_id)
    end = "pair.created" if state.chosen else "pair.skipped"
    assert told[6]["event_type"] == end
    for event in told:
        validate(event)


@pytest.mark.slow
def test_a_broker_that_dies_delays_events_and_nothing_else(system: System, broker: Broker) -> None:
    system.await_mirrored()
    broker.kill()
    try:
        batch = ask(system)
        state = system.client.wait(batch.batch_id)
        system.await_rows("training_data", batch.batch_id, 3)
        assert state.outcome is not None
        assert system.pending() == 7
        system.rlvr("doctor", code=1)
    finally:
        broker.start()
    system.await_mirrored()
    checks = {c["name"]: c["state"] for c in json.loads(system.rlvr("doctor", "--json"))}
    assert {name: checks[name] for name in ("broker", "permissions", "backlog")} == {
        "broker": "ok",
        "permissions": "ok",
        "backlog": "ok",
    }


def test_events_are_told_again(system: System) -> None:
    batches = system.client.stats().batches
    said = system.rlvr("events", "replay", "--since", "2026-01-01")
    assert int(said.split()[0].replace(",", "")) > 6 * sum(batches.values()) / 2
    said = system.rlvr("events", "replay", "--since", "2999-01-01")
    assert said.startswith("0 events")


def test_the_store_is_sound_while_it_works(system: System) -> None:
    assert json.loads(system.rlvr("verify-store", "--json")) == []
    system.rlvr("rebuild", code=1)  # the server has the folder


def test_the_command_line_asks_and_tells(system: System) -> None:
    state = json.loads(system.rlvr("ask", QUESTION, "-n", "2", "--url", system.url, "--json"))
    assert len(state["candidates"]) == 2
    assert QUESTION in system.rlvr("ask", QUESTION, "-n", "2", "--url", system.url)
    followed = system.rlvr("ask", QUESTION, "-n", "2", "--follow", "--url", system.url, "--json")
    events = [json.loads(line) for line in followed.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["submitted", "contexts"] and "piece" in kinds
    assert events[-1]["outcome"] is not None
    stats = json.loads(system.rlvr("status", "--url", system.url, "--json"))
    assert stats["batches"]["open"] == 0
    assert stats["last_error"] is None or "verif" in stats["last_error"]
    system.rlvr("status", "--url", "http://127.0.0.1:9", code=3)
    system.rlvr("ingest", "/nowhere", "--url", system.url, code=2)


def ran(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """A command that ended well, run there and with this environment."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_commands_find_the_server_from_anywhere(system: System, tmp_path: Path) -> None:
    """Without a word about port, folder or cluster, in another folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RLVR_")}

    def rlvr(*arguments: str) -> str:
        done = ran([*RLVR, *arguments], tmp_path, env)
        said = f"Server: {system.url}, data in {system.data_dir}\n" in done.stderr
        assert said == ("--data-dir" not in arguments), "what was named need not be said"
        return done.stdout

    (tmp_path / "owls.md").write_text("Owls hunt at night, by ear.")
    rlvr("ingest", "owls.md")
    rlvr("ingest", "owls.md", "--port", system.url.rpartition(":")[2])
    rlvr("ingest", "owls.md", "--data-dir", str(system.data_dir))
    assert "owls.md" in [each["source"] for each in json.loads(rlvr("documents", "--json"))]
    assert rlvr("documents", "delete", "owls.md") == "deleted owls.md, 1 passages\n"
    assert json.loads(rlvr("status", "--json"))["data_dir"] == str(system.data_dir)
    assert "sound" in rlvr("verify-store")
    assert [path.name for path in tmp_path.iterdir()] == ["owls.md"], "no second store"


@pytest.mark.slow
def test_what_serve_prints_can_be_pasted(system: System, tmp_path: Path) -> None:
    """In a shell that knows nothing but where our commands are."""
    deadline = time.monotonic() + PATIENCE_S
    while "ray job list" not in system.log.read_text():  # printed a moment after it is ready
        assert time.monotonic() < deadline
        time.sleep(0.2)
    lines = [line.strip() for line in system.log.read_text().splitlines()]
    (mode,) = [line for line in lines if line.startswith("export RAY_AUTH_MODE=token")]
    (token,) = [line for line in lines if line.endswith("ray get-auth-token")]
    (dashboard,) = re.findall(r"Ray's dashboard: (\S+)", system.log.read_text())
    assert system.client.stats().dashboard == dashboard
    env = {"HOME": os.environ["HOME"], "PATH": f"{Path(RLVR[0]).parent}:/usr/bin:/bin"}

    def shell(script: str) -> str:
        done = ran(["bash", "-ec", script], tmp_path, env)
        return done.stdout + done.stderr

    secret = shell(f"{token} 2>/dev/null")
    for key, status in ((secret, 200), ("wrong", 403)):
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{dashboard}/api/version", headers=headers).status_code == status
    (jobs,) = [line for line in lines if "ray job list" in line]
    assert "RUNNING" in shell(f"{mode}; {jobs}")
    assert "Resources" in shell(f"{mode}; ray status")
    assert "status: RUNNING" in shell(f"{mode}; serve status")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "What is Ray Serve?"}\n')
    for line in lines:
        if "ray job submit" in line:  # unless another cluster runs on this machine
            submit = line.replace("/PATH/questions.jsonl", str(questions)).replace("NAME", "pasted")
            assert '"run": "pasted"' in shell(f"{mode}; {submit} --dry-run --json")


def test_a_click_becomes_an_outcome(system: System, page: Page) -> None:
    system.client.ingest([text for text in demo.descriptions() if text.source == "fastapi.md"])
    page.goto(f"{system.url}/#/ask")
    page.get_by_test_id("question").fill("What is FastAPI?")
    page.get_by_test_id("ask").click()
    answer, outcome = page.get_by_test_id("answer-0"), page.get_by_test_id("outcome")
    expect(answer).not_to_be_empty(timeout=ENGINE_MS)
    assert not outcome.is_visible(), "the answer is seen while it is written"
    page.screenshot(path=SHOTS / "cluster-written.png")
    expect(outcome).to_be_visible(timeout=ENGINE_MS)
    state = system.client.batch(page.url.rpartition("/")[2])
    assert state.outcome is not None
    expect(outcome).to_contain_text("Pair" if state.outcome.pair else "No pair")
    for index, candidate in enumerate(state.candidates):
        expect(page.get_by_test_id(f"answer-{index}")).to_contain_text(candidate.answer[:20])
    page.screenshot(path=SHOTS / "cluster-decided.png")
    page.get_by_test_id("nav-dataset").click()
    expect(page.get_by_test_id("dataset-row").first).to_contain_text("What is FastAPI?")
    page.get_by_test_id("nav-system").click()
    for part in ("generator", "retriever", "aggregator"):
        expect(page.get_by_test_id(f"part-{part}")).to_contain_text("ok")


def test_a_second_server_is_refused(system: System) -> None:
    with pytest.raises(InputError):
        system.client.batch("not-an-id")
    from rlvr_ray.core.errors import LedgerError
    from rlvr_ray.dataset.ledger import Ledger

    with pytest.raises(LedgerError, match="in use"):
        Ledger(system.data_dir)


def test_memory_stays_under_three_gib(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {}
    for process in system.family():
        try:
            sizes[process.pid] = process.memory_full_info().pss
        except psutil.Error:
            continue
    total = sum(sizes.values())
    with capsys.disabled():
        print(f"\nmemory: {len(sizes)} processes, sum of PSS {total / GIB:.2f} GiB")
    assert total < 3 * GIB


def test_stopping_seals_the_files_and_leaves_nothing(system: System) -> None:
    family = system.family()
    session = system.ray_session
    assert servers.is_held(session / "rlvr_ray.lock"), "nobody else takes its folder away"
    training = system.jsonl("training_data")
    pairs = system.jsonl("dpo_data")
    system.stop()
    assert system.process.returncode == 0, system.log.read_text()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, [" ".join(p.cmdline()) for p in alive]
    assert not servers.is_held(session / "rlvr_ray.lock"), "the next one does"
    assert system.url not in [server.url for server in servers.running()]
    for dataset, rows in (("training_data", training), ("dpo_data", pairs)):
        parts = sorted((system.data_dir / dataset / "parquet").glob("*.parquet"))
        sealed = [row for part in parts for row in pq.read_table(part).to_pylist()]
        assert sealed == rows, dataset
        assert not list(system.data_dir.rglob("*.tmp"))
    assert "sound" in system.rlvr("verify-store")
    before = {f: f.read_bytes() for f in system.data_dir.glob("*_data/**/*") if f.is_file()}
    assert len(before) >= 2
    for file in before:
        file.unlink()
    assert json.loads(system.rlvr("verify-store", "--json", code=1))
    assert all(json.loads(system.rlvr("rebuild", "--json")).values())
    assert {f: f.read_bytes() for f in before} == before
