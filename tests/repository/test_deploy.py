"""What is shipped for Kubernetes: valid, the same as serve_config.yaml, and of one piece."""

import copy
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from ray.serve.schema import ServeDeploySchema

from rlvr_ray.cli import main
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.serve import app
from rlvr_ray.settings import Settings, load

pytestmark = pytest.mark.integration


ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
JOBS = ("rayjob.yaml", "rayjob-generate.yaml")
SCHEMA = yaml.safe_load((ROOT / "tests/data/kuberay.schema.yaml").read_text("utf-8"))


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


def problems(document: Any) -> list[str]:
    """What is wrong with a document, by the schema of its kind."""
    kinds = {"RayService": "service", "RayJob": "job", "PersistentVolumeClaim": "claim"}
    kind = {"$ref": f"#/$defs/{kinds[document['kind']]}", "$defs": SCHEMA["$defs"]}
    return [f"{e.json_path}: {e.message}" for e in Draft202012Validator(kind).iter_errors(document)]


@pytest.fixture
def service() -> dict[str, Any]:
    (only,) = documents("rayservice.yaml")
    return only


@pytest.fixture
def job() -> dict[str, Any]:
    (only,) = documents("rayjob.yaml")
    return only


@pytest.fixture
def config(service: dict[str, Any]) -> dict[str, Any]:
    """The Serve config inside the service."""
    loaded: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    return loaded


@pytest.fixture
def settings(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RLVR_API__KEY", "from the Secret")
    return load(**config["applications"][0]["args"])


def cluster(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    found: dict[str, Any] = spec.get("rayClusterConfig") or spec["rayClusterSpec"]
    return found


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    groups = cluster(document)
    for group in (groups["headGroupSpec"], *groups.get("workerGroupSpecs", [])):
        yield group["template"]["spec"]


def group(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (g for g in cluster(document)["workerGroupSpecs"] if g["groupName"] == name)
    return found


def limit(pod: dict[str, Any], resource: str) -> float:
    return float(pod["containers"][0]["resources"]["limits"].get(resource, 0))


# The files are valid.


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["rayservice.yaml", *JOBS, "storage.yaml"])
def test_it_is_valid(name: str) -> None:
    for document in documents(name):
        assert problems(document) == []


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a document, but for those in Ray's and our own free maps."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from places(value, (*path, index))


@pytest.mark.parametrize("name", ["rayservice.yaml", *JOBS, "storage.yaml"])
def test_a_typo_in_any_field_is_found(name: str) -> None:
    """Each field once misspelt, wherever it stands."""
    for document in documents(name):
        for *path, key in places(document):
            if key == "kind" and not path:
                continue  # says which schema it is
            broken = copy.deepcopy(document)
            part: Any = broken
            for step in path:
                part = part[step]
            part[f"{key}s"] = part.pop(key)
            assert problems(broken), ".".join(map(str, [*path, key]))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("apiVersion",), "ray.io/v1alpha1"),
        (("spec", "upgradeStrategy", "type"), None),
        (("spec", "rayClusterConfig", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "replicas"), "1"),
        (("spec", "serveConfigV2"), {}),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_found(
    service: dict[str, Any], path: tuple[Any, ...], value: object
) -> None:
    part: Any = service
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    assert problems(service)


# The service runs what serve_config.yaml says.


def test_its_serve_config_is_the_shipped_one(config: dict[str, Any]) -> None:
    shipped = yaml.safe_load((ROOT / "serve_config.yaml").read_text("utf-8"))
    shipped["proxy_location"] = "EveryNode"
    shipped["http_options"]["host"] = "0.0.0.0"
    (application,) = shipped["applications"]
    application["args"]["api"]["host"] = "0.0.0.0"
    application["args"]["retrieval"]["url"] = "http://qdrant:6333"
    assert config == shipped


def test_it_starts_with_a_key_only(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (application,) = ServeDeploySchema.model_validate(config).applications
    monkeypatch.delenv("RLVR_API__KEY", raising=False)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 needs api\.key"):
        app.app(application.args)
    monkeypatch.setenv("RLVR_API__KEY", "from the Secret")
    app.app(application.args)


def test_its_pods_hold_the_replicas(service: dict[str, Any], config: dict[str, Any]) -> None:
    """At their most and at their fewest; the Generator's go where the cards are."""
    deployments = config["applications"][0]["deployments"]
    for bound, replicas in (("min", "min_replicas"), ("max", "max_replicas")):
        cores = cards = 0.0
        for deployment in deployments:
            scaling = deployment.get("autoscaling_config")
            count = scaling[replicas] if scaling else deployment["num_replicas"]
            needs = deployment["ray_actor_options"]
            on_cards = needs.get("num_gpus", 0)
            cards += count * on_cards
            cores += 0 if on_cards else count * needs["num_cpus"]
            if on_cards:
                pod = group(service, "gpu")["template"]["spec"]
                assert limit(pod, "cpu") >= needs["num_cpus"]
        cpu, gpu = group(service, "cpu"), group(service, "gpu")
        pod = cpu["template"]["spec"]
        assert cpu[f"{bound}Replicas"] * limit(pod, "cpu") >= cores > 0
        pod = gpu["template"]["spec"]
        assert gpu[f"{bound}Replicas"] * limit(pod, "nvidia.com/gpu") == cards > 0
    assert cluster(service)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_ledger_is_on_the_volume_of_the_head_node(
    service: dict[str, Any], settings: Settings
) -> None:
    head, *workers = pods(service)
    (mount,) = head["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == str(settings.data_dir)
    (volume,) = (v for v in head["volumes"] if v["name"] == mount["name"])
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in documents("storage.yaml")}
    claim = claims[volume["persistentVolumeClaim"]["claimName"]]
    assert claim["accessModes"] == ["ReadWriteOnce"]
    assert service["spec"]["upgradeStrategy"]["type"] == "None", "two clusters would want it"
    for pod in workers:
        for volume in pod.get("volumes", []):
            assert "persistentVolumeClaim" not in volume


def test_deleting_a_service_or_a_job_leaves_the_volumes() -> None:
    for name in ("rayservice.yaml", *JOBS):
        assert {d["kind"] for d in documents(name)} <= {"RayService", "RayJob"}


# Service and job.


@pytest.mark.parametrize("name", ["rayservice.yaml", *JOBS])
def test_every_pod_can_read_its_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any of them; variables that Kubernetes makes of Services would be unknown settings."""
    (document,) = documents(name)
    images = set()
    for pod in pods(document):
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsUser"] == 1000, "the user of the Dockerfile"
        (container,) = pod["containers"]
        images.add(container["image"])
        assert {"secretRef": {"name": "rlvr"}} in container["envFrom"]
        with monkeypatch.context() as environment:
            for variable in container.get("env", []):
                environment.setenv(variable["name"], variable["value"])
            load()
        mounts = [m["name"] for m in container.get("volumeMounts", [])]
        assert sorted(mounts) == sorted(v["name"] for v in pod.get("volumes", []))
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], "nothing of it is taken away again"
    assert len(images) == 1
    assert cluster(document)["rayVersion"] == version("ray")


def test_a_service_of_our_name_would_break_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_HEAD_SVC_SERVICE_HOST", "10.0.0.7")
    with pytest.raises(ConfigError, match="RLVR_HEAD_SVC_SERVICE_HOST is no setting"):
        load()


@pytest.mark.parametrize("name", JOBS)
def test_the_job_runs_a_command_that_there_is(name: str) -> None:
    """With files on its volumes."""
    (job,) = documents(name)
    options = parsed(job["spec"]["entrypoint"])
    (pod,) = pods(job)
    mounts = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]]
    read = options["files"] if "files" in options else [options["data"], options["output"] / "x"]
    for file in read:
        assert str(Path(file).parent) in mounts


def parsed(entrypoint: str) -> dict[str, Any]:
    """The options of a command line of ours."""
    program, *arguments = shlex.split(entrypoint)
    assert program == "rlvr"
    commands: Any = typer.main.get_command(main.app)
    with commands.make_context(program, list(arguments)) as context:
        name, command, rest = commands.resolve_command(context, arguments)
        with command.make_context(name, list(rest), parent=context) as found:
            options: dict[str, Any] = found.params
    return options


def test_bulk_generation_goes_on_with_the_service_s_data(
    service: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ledger, vector store, model and judge; as a driver, and again where it failed."""
    (job,) = documents("rayjob-generate.yaml")
    options = parsed(job["spec"]["entrypoint"])
    assert options["here"] and options["resume"] and job["spec"]["backoffLimit"] > 0
    (pod,) = pods(job)
    (container,) = pod["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    own = load()
    assert own.data_dir == settings.data_dir
    assert own.retrieval == settings.retrieval
    assert own.verification.verifiers == settings.verification.verifiers
    assert own.generator.engine == settings.generator.engine
    assert limit(pod, "nvidia.com/gpu") == own.generator.gpus
    head, *_ = pods(service)
    claims = [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [v["persistentVolumeClaim"] for v in head["volumes"]]
    kept = job["spec"]["ttlSecondsAfterFinished"]
    assert kept > own.dataset.seal_seconds, "the last parts are sealed"


def test_the_job_measures_the_judge_of_the_service(
    job: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pod,) = pods(job)
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    measured = load()
    assert measured.verification.verifiers == settings.verification.verifiers
    same = ("engine", "model", "gpus", "vllm")
    assert [getattr(measured.generator, name) for name in same] == [
        getattr(settings.generator, name) for name in same
    ]
    assert limit(pod, "nvidia.com/gpu") == measured.generator.gpus


# The image.


def test_the_image_is_made_of_what_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    sources = [
        source for line in re.findall(r"^COPY (.+)$", text, re.M) for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    locked = (DEPLOY / "requirements.lock").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for pinned in re.findall(r'"((?:vllm|ragas)==[^"]+)"', project):
        assert f"{pinned} \\" in locked
    assert f"ray=={version('ray')} \\" in locked
    assert re.findall(r"uv==([\d.]+)", text) == re.findall(
        r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.M
    )
