"""The Serve config that is shipped: Serve takes it, it fits what we build, its numbers agree."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from ray.serve import Application
from ray.serve._private.application_state import override_deployment_info
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation import selection
from rlvr_ray.generation.model_files import SMOLLM2_135M
from rlvr_ray.serve import app, deployments, handles
from rlvr_ray.settings import LOOPBACK, Settings, load

pytestmark = pytest.mark.integration


CONFIG = Path(__file__).parents[2] / "serve_config.yaml"


@pytest.fixture
def given() -> dict[str, Any]:
    """The file, as plain data."""
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    return loaded


@pytest.fixture
def application(given: dict[str, Any]) -> ServeApplicationSchema:
    (only,) = ServeDeploySchema.model_validate(given).applications
    return only


@pytest.fixture
def settings(application: ServeApplicationSchema) -> Settings:
    return load(**application.args)


@pytest.fixture
def deployed(application: ServeApplicationSchema) -> dict[str, DeploymentInfo]:
    """What Serve makes of our code and the config, by its own rules."""
    return override_deployment_info(_built(app.app(application.args)), application)


def options(application: ServeApplicationSchema, name: str) -> DeploymentSchema:
    (found,) = (each for each in application.deployments if each.name == name)
    return found


def most(deployment: DeploymentSchema) -> int:
    """The most replicas that it may have."""
    scaling: Any = deployment.autoscaling_config
    if deployment.is_autoscaling_configured():
        return int(scaling["max_replicas"] if isinstance(scaling, dict) else scaling.max_replicas)
    return int(deployment.num_replicas or 1)


def unknown(given: Any, model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Names in a config that Serve ignores."""
    for name, value in given.items():
        if name not in model.model_fields:
            yield f"{place}{name}"
            continue
        inner = next(_models(model.model_fields[name].annotation), None)
        for part in value if isinstance(value, list) else [value]:
            if inner and isinstance(part, dict):
                yield from unknown(part, inner, f"{place}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def test_serve_config_is_valid_and_builds(application: ServeApplicationSchema) -> None:
    assert application.import_path == "rlvr_ray.serve.app:app"
    assert application.name == handles.APP, "the parts find each other by it"
    assert isinstance(app.app(application.args), Application)


def test_its_model_judges_by_log_probabilities(settings: Settings) -> None:
    choice = selection.choose(settings)
    assert [verifier.name for verifier in choice.settings.verification.chosen] == ["logprob"]
    assert choice.settings.judge.engine == "generator"


def _logging(deployment: DeploymentInfo) -> dict[str, Any]:
    found: Any = deployment.deployment_config.logging_config
    plain: dict[str, Any] = found if isinstance(found, dict) else found.model_dump()
    return plain


def test_all_log_lines_are_json(
    given: dict[str, Any], settings: Settings, deployed: dict[str, DeploymentInfo]
) -> None:
    assert settings.log.format == "json"
    assert given["logging_config"]["encoding"] == "JSON"
    for name, deployment in deployed.items():
        logging = _logging(deployment)
        assert (name, logging["encoding"]) == (name, "JSON")
        assert (name, logging["enable_access_log"]) == (name, name == "Ask")


def test_by_default_they_are_text(tmp_path: Path) -> None:
    built = _built(app.app({"data_dir": tmp_path}))
    for name, deployment in built.items():
        logging = _logging(deployment)
        assert (name, logging["encoding"]) == (name, "TEXT")


def test_serve_ignores_nothing_in_it(given: dict[str, Any]) -> None:
    assert list(unknown(given, ServeDeploySchema)) == []


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("proxy_locations",), "proxy_locations"),
        (("http_options", "hosts"), "http_options.hosts"),
        (("logging_config", "encodings"), "logging_config.encodings"),
        (("applications", 0, "arguments"), "applications.arguments"),
        (
            ("applications", 0, "deployments", 1, "max_ongoing_request"),
            "applications.deployments.max_ongoing_request",
        ),
        (
            ("applications", 0, "deployments", 0, "autoscaling_config", "max_replica"),
            "applications.deployments.autoscaling_config.max_replica",
        ),
        (
            ("applications", 0, "deployments", 1, "ray_actor_options", "num_gpu"),
            "applications.deployments.ray_actor_options.num_gpu",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_typo_is_found(given: dict[str, Any], path: tuple[Any, ...], place: str) -> None:
    broken: Any = copy.deepcopy(given)
    part = broken
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = 1
    found = []
    try:
        ServeDeploySchema.model_validate(broken)  # where Serve is strict, it refuses by itself
        found = list(unknown(broken, ServeDeploySchema))
    except ValueError as error:
        assert path[-1] in str(error)
    else:
        assert found == [place]


def test_a_typo_among_the_settings_is_refused(application: ServeApplicationSchema) -> None:
    with pytest.raises(ConfigError, match=r"generator\.gpu:"):
        app.app(application.args | {"generator": {"engine": "vllm", "gpu": 1}})


def test_only_this_machine_can_reach_it_unless_settings_allow_it(
    given: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = ServeDeploySchema.model_validate(given).http_options
    assert http.host in LOOPBACK
    assert (http.host, http.port) == (settings.api.host, settings.api.port)
    monkeypatch.delenv("RLVR_API__KEY", raising=False)
    text = CONFIG.read_text("utf-8").replace("127.0.0.1 # Serve", "0.0.0.0 # Serve")
    opened = yaml.safe_load(text)
    assert opened["http_options"]["host"] == "0.0.0.0", "the one place where it is said"
    with pytest.raises(ConfigError, match=r"needs api\.key"):
        app.app(opened["applications"][0]["args"])


def test_every_deployment_is_listed_and_every_listed_one_exists(
    application: ServeApplicationSchema, deployed: dict[str, DeploymentInfo]
) -> None:
    assert sorted(application.deployment_names) == sorted(deployed)


def test_a_listed_deployment_that_is_not_built_is_refused(
    application: ServeApplicationSchema,
) -> None:
    """So a server as the generator needs an entry less."""
    built = _built(app.app(application.args | {"generator": OPENAI}))
    with pytest.raises(ValueError, match="'Generator' does not exist"):
        override_deployment_info(built, application)


def test_the_options_apply(
    application: ServeApplicationSchema, deployed: dict[str, DeploymentInfo]
) -> None:
    for wanted in application.deployments:
        info = deployed[wanted.name]
        config: Any = info.deployment_config
        names = wanted._get_user_configured_option_names() - {"name", "ray_actor_options"}
        required = {
            "max_ongoing_requests",
            "max_queued_requests",
            "health_check_period_s",
            "health_check_timeout_s",
            "graceful_shutdown_timeout_s",
        }
        assert required <= names, wanted.name
        for name in names - {"autoscaling_config"}:
            assert getattr(config, name) == getattr(wanted, name), (wanted.name, name)
        if wanted.is_autoscaling_configured():
            assert config.autoscaling_config.max_replicas == most(wanted)
            assert config.autoscaling_config.min_replicas >= 1
        else:
            assert config.autoscaling_config is None
        asked = wanted.ray_actor_options.model_dump(exclude_unset=True)
        found = info.replica_config.ray_actor_options
        assert {name: found.get(name) for name in asked} == asked


def test_the_generator_gets_the_cards_that_it_was_told_of(
    deployed: dict[str, DeploymentInfo], settings: Settings
) -> None:
    """An entry replaces the code's num_gpus; the settings tell vLLM its share of the card."""
    actor = deployed["Generator"].replica_config.ray_actor_options
    assert actor["num_gpus"] == settings.generator.gpus == 1
    for name in deployed.keys() - {"Generator"}:
        assert not deployed[name].replica_config.ray_actor_options.get("num_gpus")


def test_numbers_that_belong_together_agree(
    application: ServeApplicationSchema, settings: Settings
) -> None:
    ask, generator, retriever, verifier = (
        options(application, name) for name in ("Ask", "Generator", "Retriever", "Verifier")
    )
    scaling: Any = ask.autoscaling_config
    assert scaling["target_ongoing_requests"] < settings.api.max_asks
    assert ask.max_ongoing_requests > 2 * settings.api.max_asks, "room for looking at batches"
    assert ask.graceful_shutdown_timeout_s == settings.generator.timeout_s
    assert generator.max_ongoing_requests == 2 * settings.generator.concurrency
    assert settings.judge.concurrency * most(verifier) == settings.generator.concurrency
    scaling = verifier.autoscaling_config
    assert scaling["target_ongoing_requests"] * most(verifier) == settings.verification.batches
    assert verifier.max_ongoing_requests >= settings.verification.batches
    assert verifier.max_queued_requests > settings.verification.batches
    assert settings.retrieval.url is not None or most(retriever) == 1


# What the code says by itself.

OPENAI = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}


OWN = {"engine": "llamacpp", "model_path": str(SMOLLM2_135M.locate())}


@pytest.mark.parametrize(
    ("judge", "verifier", "waits_for"),
    [
        ({}, "ragas", "Generator"),
        (OWN, "ragas", "Judge"),
        (OPENAI, "ragas", None),
        ({}, "grounded", None),
        (OWN, "grounded", None),
    ],
    ids=["generator", "llamacpp", "openai", "nobody", "nobody though there is one"],
)
def test_a_judge_is_deployed_and_waited_for_where_it_is_asked(
    judge: dict[str, Any], verifier: str, waits_for: str | None
) -> None:
    application = app.app({"judge": judge, "verification": {"verifiers": [verifier]}})
    parts = {bound.name: bound for bound in _bound(application)}
    own = {"Judge"} if waits_for == "Judge" else set()
    assert parts.keys() == {"Ask", "Generator", "Retriever", "Verifier", *own}
    _, asked = parts["Verifier"].init_args
    assert (asked._bound_deployment.name if asked else None) == waits_for


@pytest.mark.parametrize(
    ("gpus", "options"),
    [(0, {}), (0.5, {"num_gpus": 0.5}), (1, {"num_gpus": 1}), (2, {"num_gpus": 2})],
)
def test_a_replica_reserves_the_cards_that_vllm_uses(gpus: float, options: dict[str, Any]) -> None:
    built = _built(app.app({"generator": {"engine": "vllm", "gpus": gpus}}))
    actor = built["Generator"].replica_config.ray_actor_options
    assert {name: value for name, value in actor.items() if name == "num_gpus" and value} == options


@pytest.mark.parametrize(
    ("url", "resources"), [(None, deployments.ON_HEAD), ("http://127.0.0.1:6333", None)]
)
def test_a_local_store_is_where_the_ledger_is(url: str | None, resources: Any) -> None:
    built = _built(app.app({"retrieval": {"url": url}}))
    assert built["Retriever"].replica_config.ray_actor_options.get("resources") == resources


def test_a_verifier_that_is_not_installed_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="there is no vibes; installed: exact, grounded"):
        app.app({"verification": {"verifiers": ["vibes"]}})


def _built(application: Any) -> dict[str, DeploymentInfo]:
    """The deployments by name, as Serve's controller keeps them."""
    return {
        bound.name: DeploymentInfo(bound._deployment_config, bound._replica_config, 0, "")
        for bound in _bound(application)
    }


def _bound(application: Any) -> list[Any]:
    """The deployments of an application, which Serve keeps as arguments of each other."""
    bound = application._bound_deployment
    arguments = (argument for argument in bound.init_args if isinstance(argument, Application))
    return [bound, *(each for argument in arguments for each in _bound(argument))]
