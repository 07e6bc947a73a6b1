"""The plan is held against arithmetic by hand."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from rlvr_ray.bulk import capacity
from rlvr_ray.bulk.capacity import Asked, Cluster, Verifier, Workload
from rlvr_ray.cli.main import app

PAGE = Path(__file__).parents[2] / "docs/capacity.md"
VERIFIERS: tuple[Verifier, ...] = get_args(Verifier)


class TestTokens:
    def test_samples_share_a_prefill(self) -> None:
        load = Workload(
            candidates=4, top_k=2, passage_tokens=94, question_tokens=10, template_tokens=57
        )
        asked = capacity.generating(load)
        # Two passages of 100 tokens, the question, and the template but for its first 47.
        assert (asked.prefill, asked.cached, asked.decode) == (220, 4 * 267 - 220, 240)

    def test_without_a_prefix_cache_every_sample_reads_its_prompt(self) -> None:
        for verifier in VERIFIERS:
            load = Workload(verifier=verifier)
            bare = replace(load, prefix_cache=False)
            pairs = zip(asked_all(load), asked_all(bare), strict=True)
            for with_cache, without in pairs:
                assert without.cached == 0
                assert without.prefill == pytest.approx(with_cache.prefill + with_cache.cached)
                assert without.decode == with_cache.decode

    def test_passages_are_read_once_for_all_verdicts(self) -> None:
        few, many = (Workload(verifier="logprob", candidates=n) for n in (2, 8))
        longer = [replace(load, passage_tokens=load.passage_tokens + 100) for load in (few, many)]
        for short, long in zip((few, many), longer, strict=True):
            extra = sum(a.prefill for a in capacity.judging(long)) - sum(
                a.prefill for a in capacity.judging(short)
            )
            assert extra == pytest.approx(100 * short.top_k)

    def test_the_judge_may_be_said_to_write_so_much(self) -> None:
        load = Workload(verifier="ragas", judge_tokens=200)
        assert {asked.written for asked in capacity.judging(load)} == {200}


def asked_all(load: Workload) -> list[Asked]:
    return [capacity.generating(load), *capacity.judging(load)]


def simple(**changes: Any) -> tuple[Workload, Cluster]:
    """A question that takes 0.3 s of a GPU to generate and 0.6 s to judge."""
    load = Workload()
    generate, *judge = asked_all(load)
    fields: dict[str, Any] = {
        "judge": "own",
        "gpus": 9,
        "aggregator_rate": 1e6,
        "prefill_rate": generate.prefill / 0.1,
        "decode_rate": generate.decode / 0.2,
        "judge_prefill_rate": sum(asked.prefill for asked in judge) / 0.4,
        "judge_decode_rate": sum(asked.decode for asked in judge) / 0.2,
    }
    return load, Cluster(**fields | changes)


class TestCluster:
    def test_gpu_seconds_are_prefill_and_decode(self) -> None:
        assert capacity.gpu_seconds(*simple()) == pytest.approx((0.3, 0.6))

    def test_a_judge_without_rates_has_the_generators(self) -> None:
        load = Workload()
        cluster = Cluster(prefill_rate=1000, decode_rate=100)
        same = Cluster(
            judge="own",
            prefill_rate=1000,
            decode_rate=100,
            judge_prefill_rate=1000,
            judge_decode_rate=100,
        )
        assert capacity.gpu_seconds(load, cluster) == capacity.gpu_seconds(load, same)

    @pytest.mark.parametrize(
        ("changes", "bottleneck", "rate", "judging"),
        [
            ({}, "generator GPUs", 10, 6),  # both sides take 10
            ({"judge_gpus": 3}, "judge GPUs", 5, 3),
            ({"judge_gpus": 7}, "generator GPUs", 2 / 0.3, 7),
            ({"judge": "share", "judge_share": 1 / 3}, "judge GPUs", 5, 3),
            ({"judge": "share", "judge_share": 8 / 9}, "generator GPUs", 1 / 0.3, 8),
            ({"aggregator_rate": 2.5}, "aggregator", 2.5, 6),
            ({"cpus": 6, "ingress_cpu_s": 0.5, "verifier_cpu_s": 1}, "verifier CPUs", 4, 6),
            ({"cpus": 6, "ingress_cpu_s": 1, "verifier_cpu_s": 0.5}, "ingress CPUs", 4, 6),
            ({"ingress_cpu_s": 0, "verifier_cpu_s": 20}, "verifier CPUs", 8 * 9 / 20, 6),
        ],
    )
    def test_the_part_that_takes_least_decides(
        self, changes: dict[str, Any], bottleneck: str, rate: float, judging: float
    ) -> None:
        point = capacity.chosen(*simple(**changes))
        assert point.rate == pytest.approx(rate)
        assert point.judge_gpus == pytest.approx(judging)
        if changes:  # without any, both kinds of GPUs take the same
            assert point.bottleneck == bottleneck

    def test_one_model_for_both_divides_its_time(self) -> None:
        none = {"judge_prefill_rate": None, "judge_decode_rate": None}
        load, cluster = simple(judge="generator", **none)
        point = capacity.chosen(load, cluster)
        generate, judge = capacity.gpu_seconds(load, cluster)
        assert point.bottleneck == "GPUs"
        assert point.rate == pytest.approx(9 / (generate + judge))
        assert point.judge_gpus == pytest.approx(9 * judge / (generate + judge))

    @pytest.mark.parametrize("judge", ["generator", "share", "own"])
    def test_where_no_model_judges_all_generate(self, judge: Any) -> None:
        load = Workload(verifier="grounded")
        assert capacity.judging(load) == ()
        point = capacity.chosen(load, Cluster(gpus=4, judge=judge, verifier_cpu_s=0))
        generate, _ = capacity.gpu_seconds(load, Cluster())
        assert (point.judge_gpus, point.bottleneck) == (0, "GPUs")
        assert point.rate == pytest.approx(4 / generate)

    @given(gpus=st.integers(2, 300), slow=st.floats(1, 1e5), fast=st.floats(1, 1e5))
    def test_no_other_split_is_better(self, gpus: int, slow: float, fast: float) -> None:
        load = Workload(verifier="ragas")
        cluster = Cluster(gpus=gpus, judge="own", decode_rate=slow, judge_decode_rate=fast)
        generate, judge = capacity.gpu_seconds(load, cluster)

        def gpu_rate(judging: float) -> float:
            return min((gpus - judging) / generate, judging / judge)

        chosen = capacity.chosen(load, cluster).judge_gpus
        best = max(gpu_rate(judging) for judging in range(1, gpus))
        assert gpu_rate(chosen) == pytest.approx(best)
        assert chosen == int(chosen)

    def test_growth_goes_past_the_cluster_until_something_else_holds_up(self) -> None:
        load, cluster = simple(gpus=6, aggregator_rate=10)
        points = capacity.growth(load, cluster)
        assert [point.gpus for point in points] == [2, 4, 6, 8, 16]
        assert [point.rate for point in points] == pytest.approx(
            [1 / 0.6, 10 / 3, 20 / 3, 25 / 3, 10]
        )
        assert [point.bottleneck for point in points][-2:] == ["judge GPUs", "aggregator"]
        first, *_ = capacity.growth(load, replace(cluster, judge="share"))
        assert first.gpus == 1


def plan(*options: str) -> Result:
    return CliRunner().invoke(app, ["plan", *options], catch_exceptions=False)


def said(*options: str) -> dict[str, Any]:
    done = plan("--json", *options)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestCommand:
    def test_the_page_shows_what_it_says(self) -> None:
        done = plan("--gpus", "8", "--questions", "1e6", "--verifier", "logprob")
        assert done.exit_code == 0
        assert f"```\n{done.stdout}```" in PAGE.read_text("utf-8"), done.stdout

    def test_json_holds_the_same_plan(self) -> None:
        found = said("--gpus", "8", "--questions", "2e6", "--judge", "own", "--judge-gpus", "3")
        cluster = Cluster(judge="own", judge_gpus=3)
        point = capacity.chosen(Workload(), cluster)
        assert found["plan"]["limits"] == point.limits
        assert found["plan"]["judge_gpus"] == 3
        hours = found["plan"]["hours_for_all"]
        assert hours * found["plan"]["questions_per_hour"] == pytest.approx(2e6)
        best = capacity.point(Workload(), cluster, 8).judge_gpus
        assert found["best_judge_gpus"] == best
        assert math.isclose(found["busy_cores"]["ingress"], point.rate * 0.06)
        assert found["plan"]["aggregator_share"] == pytest.approx(point.rate / 500)
        assert [at["gpus"] for at in found["growth"]] == [2, 4, 8, 16, 32]

    def test_what_was_not_measured_is_said(self) -> None:
        every = "Assumed, not measured: --prefill-rate, --decode-rate, --cpus."
        assert every in plan().stdout
        rate = ("--prefill-rate", "1e4", "--cpus", "16")
        assert "Assumed, not measured: --decode-rate." in plan(*rate).stdout
        assert "Assumed" not in plan(*rate, "--decode-rate", "2000").stdout
        assert said(*rate, "--decode-rate", "2000")["assumed"] == []
        assert said()["assumed"] == ["prefill_rate", "decode_rate", "cpus"]

    @pytest.mark.parametrize("judge", ["generator", "share", "own"])
    @pytest.mark.parametrize("verifier", VERIFIERS)
    def test_every_kind_of_plan_can_be_read(self, verifier: str, judge: str) -> None:
        done = plan("--verifier", verifier, "--judge", judge, "--questions", "10")
        assert done.exit_code == 0
        assert "bottleneck" in done.stdout
        assert re.search(r"^10 questions +\d[\d.]* s$", done.stdout, re.MULTILINE)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("--gpus 0", "gpus must be 1 or more"),
            ("--gpus 1e300", "1e+12 at most"),
            ("--gpus 2.5", "gpus must be a whole number"),
            ("--questions 1.5", "questions must be a whole number"),
            ("--questions inf", "questions must be a whole number"),
            ("--questions nan", "questions must be a whole number"),
            ("--answer-tokens -1", "answer tokens must be 1 or more"),
            ("--passage-tokens nan", "passage tokens must be 0 or more"),
            ("--decode-rate 0", "decode rate must be above 0"),
            ("--cpus -4", "cpus must be above 0"),
            ("--judge own --gpus 1", "gpus must be more than the judge's 1"),
            ("--judge own --judge-gpus 8", "gpus must be more than the judge's 8"),
            ("--judge-gpus 2", "goes with judge = own"),
            ("--judge-share 0.5", "goes with judge = share"),
            ("--judge share --judge-share 1", "must be below 1"),
            ("--judge-decode-rate 100", "go with judge = share or own"),
        ],
    )
    def test_what_cannot_be_is_refused_in_one_line(self, options: str, problem: str) -> None:
        done = plan(*options.split())
        assert (done.exit_code, done.stdout) == (2, "")
        assert problem in done.stderr
        assert done.stderr.startswith("rlvr: ")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("options", ["--gpus many", "--verifier vibes", "--judge nobody"])
    def test_what_cannot_be_read_is_refused(self, options: str) -> None:
        assert plan(*options.split()).exit_code == 2


@pytest.mark.parametrize("kind", [Workload, Cluster])
def test_unknown_choices_are_refused_without_the_command_too(kind: Any) -> None:
    name = "verifier" if kind is Workload else "judge"
    with pytest.raises(ValueError, match=f"{name} must be .*; not vibes"):
        kind(**{name: "vibes"})
