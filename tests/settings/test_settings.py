"""Settings: where they come from, which one wins, what is refused."""

import json
import os
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.core.pairing import PairingRule
from rlvr_ray.settings import ApiSettings, Section, Settings, config, load, parsed

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the tester's own settings, and an empty folder to stand in."""
    for name in os.environ:
        if name.upper().startswith("RLVR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the file that RLVR_CONFIG names."""

    def write(content: str | bytes) -> None:
        file = tmp_path / "config.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        monkeypatch.setenv("RLVR_CONFIG", str(file))

    return write


def refusal(**arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**arguments)
    return str(caught.value)


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += sections(field.annotation)
    return found


# Defaults.


def test_the_defaults_are_valid_and_need_nothing() -> None:
    settings = load()
    assert settings.ray_address is None
    assert settings.retrieval.url is None
    assert settings.generator.model_path is None
    assert settings.verification.verifiers == "auto"
    assert settings.judge.engine == "generator"
    assert settings.verification.source == "internal"
    assert settings.mirror.url is None
    assert settings.dataset.parquet_uri is None
    assert settings.api.host == "127.0.0.1"
    assert settings.api.key is None
    assert Settings.model_validate(settings.model_dump()) == settings, "pydantic trusts defaults"


def test_the_documented_defaults() -> None:
    settings = load()
    assert settings.generator.temperatures == (0.3, 0.7, 0.9)
    assert settings.retrieval.top_k == 5
    assert (settings.ledger.min_free_mb, settings.ledger.retention_days) == (512, None)
    assert settings.mirror.exchange == "rlvr_events"
    assert settings.dpo.rule() == PairingRule(
        min_score_diff=0.05, min_chosen_score=0.6, quality_filter=False, prompt="question"
    )


def test_the_rule_is_the_one_that_is_set() -> None:
    fields = {
        "min_score_diff": 0.2,
        "min_chosen_score": 0.3,
        "quality_filter": True,
        "prompt": "rag",
    }
    assert load(dpo=fields).dpo.rule() == PairingRule(**fields)  # type: ignore[arg-type]


def test_the_data_folder_is_fixed_where_settings_are_read(tmp_path: Path) -> None:
    """Ray's workers stand in other folders."""
    assert load().data_dir == tmp_path / "data"
    assert load(data_dir="here/there").data_dir == tmp_path / "here/there"
    assert load(data_dir="/var/lib/rlvr").data_dir == Path("/var/lib/rlvr")


@pytest.mark.parametrize("section", sections(Settings), ids=lambda section: section.__name__)
def test_every_setting_is_documented_and_every_section_closed(section: type[BaseModel]) -> None:
    assert section.model_config.get("extra") == "forbid"
    assert section.model_config.get("frozen") is True
    for name, field in section.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        assert is_section or field.description, f"{section.__name__}.{name}"


# Precedence.


def test_arguments_over_environment_over_file_over_defaults(
    yaml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().dpo.min_score_diff == 0.05
    yaml("dpo:\n  min_score_diff: 0.1\n")
    assert load().dpo.min_score_diff == 0.1
    monkeypatch.setenv("RLVR_DPO__MIN_SCORE_DIFF", "0.2")
    assert load().dpo.min_score_diff == 0.2
    assert load(dpo={"min_score_diff": 0.3}).dpo.min_score_diff == 0.3


def test_sources_complete_each_other_inside_a_section(
    yaml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml("dpo:\n  min_score_diff: 0.1\n  prompt: rag\ndata_dir: /from/file\n")
    monkeypatch.setenv("RLVR_DPO__MIN_CHOSEN_SCORE", "0.2")
    settings = load(dpo={"quality_filter": True})
    assert settings.dpo.rule() == PairingRule(
        min_score_diff=0.1, min_chosen_score=0.2, quality_filter=True, prompt="rag"
    )
    assert settings.data_dir == Path("/from/file")


def test_a_better_source_mends_a_worse_one(yaml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml("dpo:\n  prompt: poem\n")
    assert "dpo.prompt" in refusal()
    monkeypatch.setenv("RLVR_DPO__PROMPT", "rag")
    assert load().dpo.prompt == "rag"


def test_lists_and_paths_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_GENERATOR__TEMPERATURES", "[0.1, 1.5]")
    monkeypatch.setenv("RLVR_GENERATOR__MODEL_PATH", "/models/own.gguf")
    monkeypatch.setenv("RLVR_RAY_ADDRESS", "auto")
    settings = load()
    assert settings.generator.temperatures == (0.1, 1.5)
    assert settings.generator.model_path == Path("/models/own.gguf")
    assert settings.ray_address == "auto"


def test_no_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RLVR_DPO__MIN_SCORE_DIFF=0.4\n")
    assert load().dpo.min_score_diff == 0.05


def test_an_empty_file_changes_nothing(yaml: Any) -> None:
    yaml("# nothing yet\n")
    assert load().dpo == Settings().dpo


# Unknown keys.


def test_unknown_arguments_are_refused() -> None:
    assert "bogus" in refusal(bogus=1)
    assert "dpo.bogus" in refusal(dpo={"bogus": 1})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("RLVR_BOGUS", "RLVR_BOGUS"),
        ("RLVR_DPO__BOGUS", "dpo.bogus"),
        ("RLVR_BOGUS__PROMPT", "RLVR_BOGUS__PROMPT"),
        ("RLVR_DPO_PROMPT", "RLVR_DPO_PROMPT"),  # one underscore too few
        ("RLVR_DATADIR", "RLVR_DATADIR"),
        ("RLVR_DPO__PROMPT__DEEP", "dpo.prompt"),
        ("RLVR_", "RLVR_"),
    ],
)
def test_unknown_variables_are_refused(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert key in refusal()


@pytest.mark.parametrize("name", ["rlvr_bogus", "Rlvr_Bogus"])
def test_unknown_variables_are_refused_in_any_case(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``rlvr_dpo__prompt`` is read, so ``rlvr_bogus`` must be refused."""
    monkeypatch.setenv("rlvr_dpo__prompt", "rag")
    assert load().dpo.prompt == "rag"
    monkeypatch.setenv(name, "1")
    assert name in refusal()


@pytest.mark.parametrize("name", ["RLVRX", "RLVRX_BOGUS", "XRLVR_BOGUS", "NOT_RLVR_BOGUS"])
def test_variables_of_others_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert load() == load()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("bogus: 1\n", "bogus"),
        ("dpo:\n  bogus: 1\n", "dpo.bogus"),
        ("dpo:\n  prompt:\n    deep: 1\n", "dpo.prompt"),
    ],
)
def test_unknown_keys_of_the_file_are_refused(yaml: Any, content: str, key: str) -> None:
    yaml(content)
    assert key in refusal()


def test_every_wrong_key_is_named_at_once() -> None:
    message = refusal(dpo={"bogus": 1, "prompt": "poem"}, api={"port": 70_000})
    for key in ("dpo.bogus", "dpo.prompt", "api.port"):
        assert key in message


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dpo.min_scor_diff", "dpo.min_score_diff"),
        ("dpo.minscorediff", "dpo.min_score_diff"),
        ("generater.model", "generator"),
        ("generator.modle", "generator.model"),
        ("generator.temprature", "generator.temperatures"),
        ("judge.baseurl", "judge.base_url"),
        ("retrieval.topk", "retrieval.top_k"),
        ("data-dir", "data_dir"),
        ("port", "api.port"),
        ("min_score_diff", "dpo.min_score_diff"),
        ("API.PORT", "api.port"),
    ],
)
def test_a_key_that_was_meant_is_named(given: str, meant: str, yaml: Any) -> None:
    """Of a flag and of the file alike."""
    for message in (refusal(**parsed([f"{given}=1"])), _of_file(yaml, given)):
        assert message.endswith(f"did you mean {meant}?"), message


def test_a_key_inside_a_list_that_was_meant_is_named() -> None:
    message = refusal(verification={"verifiers": ["exact", {"name": "numeric", "wieght": 1}]})
    assert message.endswith("; did you mean verification.verifiers.1.weight?")


def _of_file(yaml: Any, key: str) -> str:
    section, _, name = key.rpartition(".")
    yaml(f"{section}:\n  {name}: 1\n" if section else f"{name}: 1\n")
    return refusal()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RLVR_DPO_PROMPT", "RLVR_DPO__PROMPT"),
        ("RLVR_DATADIR", "RLVR_DATA_DIR"),
        ("rlvr_generater__model", "RLVR_GENERATOR__MODEL"),
        ("RLVR_CONFG", "RLVR_CONFIG"),
        ("RLVR_DPO__PROMT", "dpo.prompt"),
    ],
)
def test_a_variable_that_was_meant_is_named(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert refusal().endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("key", ["bogus", "dpo.bogus", "x.y.z", "verification.verifiers.deep"])
def test_nothing_is_suggested_where_nothing_is_alike(key: str) -> None:
    assert "did you mean" not in refusal(**parsed([f"{key}=1"]))


# Sources that cannot be read.


@pytest.mark.parametrize(
    "pairs",
    [
        ["dpo"],
        ["dpo=1", "dpo.prompt=rag"],
        ["dpo.prompt=["],
        ["a: b=x: y: z"],
        ["dpo.prompt=rag\t:"],
    ],
    ids=str,
)
def test_a_flag_that_cannot_be_read_is_refused(pairs: list[str]) -> None:
    with pytest.raises(ConfigError):
        load(**parsed(pairs))


def test_a_file_that_is_named_wins(yaml: Any, tmp_path: Path) -> None:
    yaml("dpo:\n  prompt: poem\n")
    named = tmp_path / "named.yaml"
    named.write_text("dpo:\n  prompt: rag\n")
    with config(named):
        assert load().dpo.prompt == "rag"
    with config(tmp_path / "none.yaml"):
        assert "--config names" in refusal()
    with config(None):
        assert "dpo.prompt" in refusal()


def test_a_file_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CONFIG", "/nowhere/config.yaml")
    assert "RLVR_CONFIG names /nowhere/config.yaml, which does not exist" in refusal()


@pytest.mark.parametrize(
    "content",
    ["dpo: [", "- dpo\n- api\n", "just words\n", "1: 2\n", b"\xff\xfe\x00", "a: b: c\n", "\t- x"],
    ids=repr,
)
def test_a_file_that_is_no_mapping_is_refused_by_its_name(yaml: Any, content: str | bytes) -> None:
    yaml(content)
    assert "config.yaml" in refusal()


def test_a_file_that_cannot_be_read_shows_no_secret(yaml: Any) -> None:
    yaml(f"api:\n  key: {SECRET}: {SECRET}\n")
    message = refusal()
    assert "config.yaml" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RLVR_GENERATOR__TEMPERATURES", "0.3,0.7"),
        ("RLVR_DPO", "rag"),
        ("RLVR_GENERATOR__VLLM", "x"),
    ],
)
def test_a_variable_that_is_no_json_is_refused_by_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal() == f"settings: {name}: write lists and sections as JSON, such as [0.3, 0.9]"


# Values.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"generator": {"temperatures": ""}}, "must be a list, such as [VALUE, VALUE]"),
        ({"generator": {"temperatures": 0.3}}, "must be a list, such as [VALUE, VALUE]"),
        ({"generator": {"temperatures": ["hot"]}}, "must be a number"),
        ({"generator": {"temperatures": []}}, "needs at least 1 of them"),
        ({"generator": {"temperatures": [2.1]}}, "must be 2 or less"),
        ({"generator": {"temperatures": ["inf"]}}, "must be a finite number"),
        (
            {"generator": {"model": 7}},
            "must be text; put a number or a word such as true into quotes",
        ),
        ({"generator": {"slots": "many"}}, "must be a whole number"),
        ({"generator": {"slots": 1.5}}, "must be a whole number"),
        ({"generator": {"slots": 0}}, "must be 1 or more"),
        ({"generator": {"vllm": 1}}, "must be a mapping, such as {name: value}"),
        ({"generator": {"engine": "vlm"}}, "did you mean vllm?"),
        ({"dpo": {"quality_filter": "perhaps"}}, "must be true or false"),
        ({"dpo": {"min_score_diff": 0}}, "must be greater than 0"),
        ({"dpo": 1}, "is a section: it holds settings and has no value of its own"),
        ({"dpo": {"prompt": "poem"}}, "must be 'question' or 'rag'"),
        ({"judge": {"base_url": "localhost:1"}}, "must begin with http:// or https://"),
        (
            {"judge": {"engine": "vllm"}},
            "engine = vllm needs model, a folder or a name on the model hub",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_told_in_plain_words(arguments: dict[str, Any], said: str) -> None:
    message = refusal(**arguments)
    assert said in message
    for jargon in ("Input should be", "Value error", "tuple", "pydantic"):
        assert jargon not in message


def test_no_kind_of_refusal_is_in_the_librarys_words() -> None:
    """Every setting, given things that it is not."""
    wrongs = [None, "", "x", -1, 1.5, True, [], ["x"], {}, {"x": 1}, float("nan"), date(2026, 1, 1)]
    for section in (None, *(n for n in Settings.model_fields if _is_section(n))):
        model = Settings if section is None else Settings.model_fields[section].annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        for name in model.model_fields:
            for wrong in wrongs:
                tree = {name: wrong} if section is None else {section: {name: wrong}}
                try:
                    load(**tree)
                except ConfigError as error:
                    for jargon in ("Input should", "Value error", "tuple", "instance of", "valid "):
                        assert jargon not in str(error), (tree, str(error))


def _is_section(name: str) -> bool:
    kind = Settings.model_fields[name].annotation
    return isinstance(kind, type) and issubclass(kind, Section)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"dpo": {"min_score_diff": 0}}, "dpo.min_score_diff"),
        ({"dpo": {"min_score_diff": 1.01}}, "dpo.min_score_diff"),
        ({"dpo": {"min_score_diff": "nan"}}, "dpo.min_score_diff"),
        ({"dpo": {"min_chosen_score": -0.1}}, "dpo.min_chosen_score"),
        ({"dpo": {"min_chosen_score": "nan"}}, "dpo.min_chosen_score"),
        ({"dpo": {"prompt": "poem"}}, "dpo.prompt"),
        ({"generator": {"temperatures": []}}, "generator.temperatures"),
        ({"generator": {"temperatures": [0.3, -0.1]}}, "generator.temperatures.1"),
        ({"generator": {"temperatures": [2.1]}}, "generator.temperatures.0"),
        ({"generator": {"temperatures": ["nan"]}}, "generator.temperatures.0"),
        ({"generator": {"slots": 0}}, "generator.slots"),
        ({"generator": {"timeout_s": 0}}, "generator.timeout_s"),
        ({"generator": {"timeout_s": "nan"}}, "generator.timeout_s"),
        ({"generator": {"model_sha256": "ABC"}}, "generator.model_sha256"),
        ({"retrieval": {"top_k": 21}}, "retrieval.top_k"),
        ({"retrieval": {"top_k": 0}}, "retrieval.top_k"),
        ({"retrieval": {"collection": "../x"}}, "retrieval.collection"),
        ({"retrieval": {"collection": ""}}, "retrieval.collection"),
        ({"verification": {"abstention": "vibes"}}, "verification.abstention"),
        ({"verification": {"max_attempts": 0}}, "verification.max_attempts"),
        ({"verification": {"max_disagreement": 0}}, "verification.max_disagreement"),
        ({"verification": {"verifiers": []}}, "verification.verifiers"),
        ({"verification": {"verifiers": "ragas"}}, "verification.verifiers"),
        ({"verification": {"verifiers": ["Ragas!"]}}, "verification.verifiers.0.name"),
        ({"verification": {"verifiers": ["ragas", "ragas"]}}, "verification"),
        ({"verification": {"verifiers": [{"name": "ragas", "weight": 0}]}}, "verification"),
        (
            {"verification": {"verifiers": [{"name": "ragas", "weight": -1}]}},
            "verification.verifiers.0.weight",
        ),
        (
            {"verification": {"verifiers": [{"name": "ragas", "weight": "nan"}]}},
            "verification.verifiers.0.weight",
        ),
        (
            {"verification": {"verifiers": [{"name": "ragas", "share": 1}]}},
            "verification.verifiers.0.share",
        ),
        ({"judge": {"engine": "llamacpp"}}, "judge"),
        ({"judge": {"engine": "openai", "model": "m"}}, "judge"),
        ({"judge": {"engine": "openai", "base_url": "http://localhost"}}, "judge"),
        ({"judge": {"base_url": "localhost:11434"}}, "judge.base_url"),
        ({"judge": {"concurrency": 0}}, "judge.concurrency"),
        ({"judge": {"requests_per_minute": 0}}, "judge.requests_per_minute"),
        ({"judge": {"max_tokens": 15}}, "judge.max_tokens"),
        ({"dataset": {"seal_rows": 0}}, "dataset.seal_rows"),
        ({"dataset": {"seal_seconds": 0}}, "dataset.seal_seconds"),
        ({"ledger": {"min_free_mb": -1}}, "ledger.min_free_mb"),
        ({"ledger": {"retention_days": 0}}, "ledger.retention_days"),
        ({"ledger": {"retention_days": 0.5}}, "ledger.retention_days"),
        ({"mirror": {"exchange": ""}}, "mirror.exchange"),
        ({"mirror": {"exchange": "two words"}}, "mirror.exchange"),
        ({"mirror": {"exchange": "x" * 201}}, "mirror.exchange"),
        ({"mirror": {"timeout_s": 0}}, "mirror.timeout_s"),
        ({"verification": {"source": "nobody"}}, "verification.source"),
        ({"verification": {"external_timeout_s": 0}}, "verification.external_timeout_s"),
        ({"api": {"port": -1}}, "api.port"),
        ({"api": {"port": 65_536}}, "api.port"),
        ({"api": {"max_asks": 0}}, "api.max_asks"),
        ({"dpo": None}, "dpo"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_with_their_key(
    arguments: dict[str, Any], key: str
) -> None:
    assert f"{key}: " in refusal(**arguments)


@pytest.mark.parametrize(("chars", "overlap"), [(200, 200), (200, 201), (150, None)])
def test_an_overlap_as_long_as_a_chunk_is_refused(chars: int, overlap: int | None) -> None:
    retrieval = {"chunk_chars": chars} | ({} if overlap is None else {"chunk_overlap": overlap})
    message = refusal(retrieval=retrieval)
    assert "retrieval: " in message
    assert "chunk_overlap must be smaller than chunk_chars" in message


def test_an_overlap_of_one_less_is_fine() -> None:
    assert load(retrieval={"chunk_chars": 200, "chunk_overlap": 199}).retrieval.chunk_overlap == 199


# The broker.

BROKER = f"amqp://rlvr:{SECRET}@broker:5672/"


@pytest.mark.parametrize("url", [BROKER, "amqps://broker/rlvr", "amqp://localhost"])
def test_a_broker_is_named_by_its_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_MIRROR__URL", url)
    found = load().mirror.url
    assert found is not None
    assert found.get_secret_value() == url


@pytest.mark.parametrize("url", ["", "broker:5672", f"http://x:{SECRET}@broker/", "AMQP", "/amqp"])
def test_what_is_no_url_of_a_broker_is_refused(url: str) -> None:
    message = refusal(mirror={"url": url})
    assert "mirror: " in message
    assert "amqp:// or amqps://" in message
    assert SECRET not in message


def test_others_verify_only_over_a_broker() -> None:
    assert "needs mirror.url" in refusal(verification={"source": "external"})
    settings = load(verification={"source": "external"}, mirror={"url": BROKER})
    assert settings.verification.source == "external"


def test_parts_may_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_DATASET__PARQUET_URI", "s3://bucket/prefix")
    assert load().dataset.parquet_uri == "s3://bucket/prefix"


# Who may reach the server.

OPEN = ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "127.0.0.1.example.org", "LOCALHOST "]


@pytest.mark.parametrize("host", OPEN)
def test_an_open_host_without_a_key_is_refused(host: str) -> None:
    assert "needs api.key" in refusal(api={"host": host})
    assert load(api={"host": host, "key": SECRET}).api.host == host


def test_an_open_host_is_refused_from_every_source(
    yaml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml("api:\n  host: 0.0.0.0\n")
    assert "needs api.key" in refusal()
    monkeypatch.setenv("RLVR_API__KEY", SECRET)
    assert load().api.host == "0.0.0.0"
    monkeypatch.delenv("RLVR_API__KEY")
    monkeypatch.delenv("RLVR_CONFIG")
    monkeypatch.setenv("RLVR_API__HOST", "0.0.0.0")
    assert "needs api.key" in refusal()


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_a_blank_key_opens_no_host(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as compose files write it, is no key: nobody could ever give it."""
    monkeypatch.setenv("RLVR_API__KEY", key)
    assert "key" in refusal(api={"host": "0.0.0.0"})


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_a_blank_key_does_not_lock_everybody_out(key: str) -> None:
    """It is refused, or it is none."""
    try:
        settings = load(api={"key": key})
    except ConfigError as error:
        assert "key" in str(error)
    else:
        assert settings.api.key is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_loopback_host_needs_no_key(host: str) -> None:
    assert load(api={"host": host}).api.key is None


# Frozen, and silent about secrets.


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.data_dir = Path("/elsewhere")
    for name in Settings.model_fields:
        section = getattr(settings, name)
        if isinstance(section, Section):
            field = next(iter(type(section).model_fields))
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, field, None)
    assert isinstance(settings.generator.temperatures, tuple)


def test_settings_travel_and_compare() -> None:
    """The aggregator is made again where the settings are others."""
    settings = load(api={"key": SECRET})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings != load(api={"key": "another"})
    assert settings != load(api={"key": SECRET}, dpo={"prompt": "rag"})


@pytest.mark.parametrize(
    "secret",
    [
        {"api": {"key": SECRET}},
        {"retrieval": {"api_key": SECRET}},
        {"mirror": {"url": f"amqp://rlvr:{SECRET}@broker/"}},
    ],
    ids=["api.key", "retrieval.api_key", "mirror.url"],
)
def test_secrets_are_never_shown(secret: dict[str, Any]) -> None:
    settings = load(**secret)
    for shown in (
        repr(settings),
        str(settings),
        f"{settings!r:s}{settings}",
        repr(settings.api),
        repr(settings.retrieval),
        repr(settings.mirror),
        str(settings.model_dump()),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(mode="json")),
    ):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        {"api": {"key": [SECRET]}},
        {"api": {"key": {"value": SECRET}}},
        {"api": {"key": SECRET, "port": "many"}},
        {"api": {"key": SECRET, "bogus": 1}},
        {"retrieval": {"api_key": SECRET, "chunk_chars": 100}},
        {"mirror": {"url": f"amqp://rlvr:{SECRET}@broker/", "exchange": " "}},
        {"mirror": {"url": f"rlvr:{SECRET}@broker"}},
        {"mirror": {"url": [f"amqp://rlvr:{SECRET}@broker/"]}},
    ],
    ids=str,
)
def test_no_message_repeats_a_secret(arguments: dict[str, Any]) -> None:
    assert SECRET not in refusal(**arguments)


def test_the_key_itself_is_there() -> None:
    key = ApiSettings.model_validate({"key": SECRET}).key
    assert key is not None
    assert key.get_secret_value() == SECRET


def test_verifiers_are_names_or_sections() -> None:
    given = ["logprob", {"name": "numeric", "weight": 2, "options": {"tolerance": 0.01}}]
    verifiers = load(verification={"verifiers": given}).verification.chosen
    assert [(v.name, v.weight, v.options) for v in verifiers] == [
        ("logprob", 1.0, {}),
        ("numeric", 2.0, {"tolerance": 0.01}),
    ]


def test_a_judge_in_llama_cpp_has_limits_of_its_own(tmp_path: Path) -> None:
    judge = load(judge={"engine": "llamacpp", "model_path": tmp_path / "j.gguf", "slots": 2}).judge
    assert (judge.model_path, judge.slots) == (tmp_path / "j.gguf", 2)


def test_a_judges_key_is_not_shown() -> None:
    settings = load(
        judge={"engine": "openai", "base_url": "http://h/v1", "model": "m", "api_key": "sk-1"}
    )
    assert "sk-1" not in repr(settings) + str(settings)
