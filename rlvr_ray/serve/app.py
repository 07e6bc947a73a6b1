"""The Serve application: how it is built from its parts, started and stopped."""

import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.experimental import internal_kv
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from rlvr_ray import __version__
from rlvr_ray.client import servers
from rlvr_ray.client.servers import Server
from rlvr_ray.core.errors import ConfigError
from rlvr_ray.generation import engines, selection
from rlvr_ray.generation.generator import CheckedGenerator
from rlvr_ray.observability import logs
from rlvr_ray.observability.metrics import Metrics
from rlvr_ray.serve import deployments as actors
from rlvr_ray.serve import doctor, handles
from rlvr_ray.serve.ray_metrics import RayMeter
from rlvr_ray.settings import EngineSettings, Settings, load
from rlvr_ray.verification import factory

if TYPE_CHECKING:
    from rlvr_ray.serve.http import Services

log = logging.getLogger(__name__)

#: Shares of a CPU that Ray sets aside. They only steer placement: two cores must hold everything.
SHARE = 0.1
#: A file in the session's folder of a cluster that was started here, locked while it runs.
SESSION_MARK = "rlvr_ray.lock"
_held: list[IO[str]] = []
#: Bytes of a local cluster's object store; what travels between the parts is small.
OBJECT_STORE = 256 * 2**20


def app(args: dict[str, Any]) -> Application:
    """What ``serve run rlvr_ray.serve.app:app key=value`` and a Serve config's ``args`` build."""
    settings = load(**args)
    factory.check_verifiers(settings)
    check_tracing(settings)
    doctor.check_broker(settings)
    return build(selection.choose(settings, _gpus(), ask=True))


def build(choice: selection.Choice) -> Application:
    """Generator, Retriever, Verifier and a judge's model, each in a deployment of its own.

    An engine that is a server's has none: its client runs where it is used. Nor has a judge that no
    verifier asks, and Verifier then waits for no model.
    """
    settings = choice.settings

    def deployment(
        name: str, replica: Any, needs: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        return serve.deployment(
            replica,
            name=name,
            # A line for each call is for HTTP, where it tells who asked what.
            logging_config={
                "enable_access_log": name == "Ask",
                "encoding": settings.log.format.upper(),
                "log_level": settings.log.level,
            },
            num_replicas=1,
            health_check_period_s=5,
            ray_actor_options={"num_cpus": SHARE} | (needs or {}),
            **{"max_ongoing_requests": 64, "graceful_shutdown_timeout_s": 10} | options,
        )

    def engine(name: str, engine: EngineSettings) -> Any:
        kind = engines.engine_type(engine)
        if kind.is_remote:
            return None
        if not kind.on_gpus:
            return deployment(name, actors.EngineReplica).bind(engine, settings.log)
        options = {
            # The engine's own limit is the narrower one, and says what to do.
            "max_ongoing_requests": 2 * engine.concurrency,
            "health_check_timeout_s": 60,
            "graceful_shutdown_timeout_s": engine.timeout_s,  # what is being written ends well
        }
        needs = {"num_gpus": engine.gpus} if engine.gpus else None
        return deployment(name, actors.EngineReplica, needs, **options).bind(engine, settings.log)

    generator = engine("Generator", settings.generator)
    judge = None
    if factory.needs_judge(settings):
        own = settings.judge.engine != "generator"
        judge = engine("Judge", settings.judge) if own else generator
    place = None if settings.retrieval.url else {"resources": actors.ON_HEAD}
    retriever = deployment("Retriever", actors.RetrieverReplica, place).bind(settings)
    verifier = deployment("Verifier", actors.VerifierReplica).bind(settings, judge)
    parts = [part for part in (generator, retriever, verifier) if part is not None]

    def ingress() -> FastAPI:
        return _ingress(choice)

    class Ask(serve.ingress(ingress)()):  # type: ignore[misc]
        async def __init__(self, *parts: DeploymentHandle[Any]) -> None:  # type: ignore[misc]
            """The parts are looked up by name; taking them makes them part of the app."""
            await super().__init__()

    application: Application = deployment("Ask", Ask, max_ongoing_requests=256).bind(*parts)
    return application


def _gpus() -> float | None:
    """GPUs of the cluster; None where none is joined."""
    resources: Any = ray.cluster_resources
    return float(resources().get("GPU", 0)) if ray.is_initialized() else None


def _ingress(choice: selection.Choice) -> FastAPI:
    """Runs in the ingress replica."""
    from rlvr_ray.serve.http import create_api

    logs.configure(choice.settings.log)
    log.info("answers are verified by %s", choice.verifiers)
    return create_api(choice.settings, _services(choice, actors.start_aggregator(choice.settings)))


def _services(choice: selection.Choice, aggregator: Any) -> "Services":
    """The running services, as this process reaches them."""
    from rlvr_ray.serve.http import Services

    settings = choice.settings

    generator: CheckedGenerator
    if engines.engine_type(settings.generator).is_remote:
        generator = engines.open_limited(settings.generator)
    else:
        generator = handles.generator()
    return Services(
        retriever=handles.retriever(),
        generator=generator,
        recorder=handles.recorder(aggregator),
        archive=handles.queries(aggregator),
        engine=f"{settings.generator.engine}: {choice.reason}",
        verifiers=choice.verifiers,
        tracer=actors.open_tracer(settings),
        logs=actors.session_folder() / "logs",
        dashboard=_dashboard(),
        metrics=Metrics(RayMeter()),
    )


def _dashboard() -> str | None:
    """The address of Ray's dashboard, as the nodes of the cluster reach it; None without one."""
    # Ray's public ways know it in the process that started the cluster, and not in a worker.
    address: bytes | None = internal_kv._internal_kv_get("webui:url", namespace="dashboard")
    return f"http://{address.decode()}" if address else None


def attach(settings: Settings, *, deploy: bool = True) -> "tuple[Settings, Services]":
    """Join a cluster as a driver: the application's settings, and its services.

    It is the cluster that the settings or Ray's environment name; or that of the server that runs;
    or the one that Ray finds. Where the application does not run, it is deployed with these
    settings, and stays, if somebody has named the cluster: others' are left alone. Where it does,
    its own settings count. Raises ConfigError where there is no cluster, it runs another version,
    or it does not run and is not to be deployed.
    """
    named = settings.ray_address or os.environ.get("RAY_ADDRESS")
    _join(servers.joining(settings).ray_address or "auto")
    try:
        if handles.APP not in serve.status().applications:
            if not deploy or not named:
                address = ray.get_runtime_context().gcs_address
                advice = f", or name the cluster to have it used: RLVR_RAY_ADDRESS={address}"
                raise ConfigError(
                    f"the application does not run on the Ray cluster at {address}: start it with "
                    f"rlvr serve{'' if named else advice}"
                )
            _deploy(settings)
        version, running = actors.serving()
    except RuntimeError as error:
        raise ConfigError(f"the application did not start: {_reason() or error}") from None
    if version != __version__:
        raise ConfigError(f"the cluster runs rlvr_ray {version}, this is {__version__}")
    choice = selection.Choice(settings=running, reason="it runs", verifiers="those that run")
    return running, _services(choice, actors.aggregator())


def start(settings: Settings) -> Server:
    """Start or join a cluster, deploy the app, wait until it is ready; say where it is.

    Raises ConfigError, LedgerError or Unavailable, with nothing left running, where something
    prevents that.
    """
    logs.configure(settings.log)
    factory.check_verifiers(settings)
    check_tracing(settings)
    if settings.ray_address is None:
        doctor.before_start(settings)
    # Nine processes share this machine: glibc must not keep an arena for each of their threads.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    # Jobs are commands, and this environment is what they are meant for, whatever shell began it.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    local: dict[str, Any] = {"object_store_memory": OBJECT_STORE}
    _join(settings.ray_address or "local", **({} if settings.ray_address else local))
    if settings.ray_address is None:
        _take_away_old_sessions()
    try:
        _deploy(settings)
    except RuntimeError as error:
        reason = _reason() or f"{error} Ray's logs say more: /tmp/ray/session_latest/logs/serve"
        ray.shutdown()
        raise ConfigError(f"the system did not start: {reason}") from None
    except BaseException:
        ray.shutdown()
        raise
    return Server(
        pid=os.getpid(),
        url=settings.api.url,
        data_dir=str(settings.data_dir),
        ray_address=ray.get_runtime_context().gcs_address,
        dashboard=_dashboard(),
    )


def _join(address: str, **options: Any) -> None:
    try:
        ray.init(
            address=address,
            namespace=actors.NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except ConnectionError as error:
        raise ConfigError(
            f"no Ray cluster to join at {address}: {error} (one that wants a token needs "
            "RAY_AUTH_MODE=token here, and the token)"
        ) from None
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def _take_away_old_sessions() -> None:
    """Remove Ray's folders of earlier clusters that were started here and have ended.

    The latest one stays for as long as no other is started: its logs may be wanted.
    """
    own = actors.session_folder()
    _held.append(servers.hold(own / SESSION_MARK))
    for mark in own.parent.glob(f"session_*/{SESSION_MARK}"):
        if not servers.is_held(mark):
            shutil.rmtree(mark.parent, ignore_errors=True)


def _deploy(settings: Settings) -> None:
    """Raises RuntimeError where a deployment does not come up."""
    serve.start(http_options={"host": settings.api.host, "port": settings.api.port})
    choice = selection.choose(settings, _gpus(), ask=True)
    _check_gpus(choice.settings)
    serve.run(build(choice), name=handles.APP, route_prefix="/")


def _check_gpus(settings: Settings) -> None:
    """Raise ConfigError where engines want more GPUs than there are: they would wait for ever."""
    used: list[EngineSettings] = [settings.generator]
    if factory.needs_judge(settings) and settings.judge.engine != "generator":
        used.append(settings.judge)
    wanted = {e.section: e.gpus for e in used if engines.engine_type(e).on_gpus}
    there = _gpus() or 0
    if sum(wanted.values()) > there:
        named = " and ".join(f"{name}.gpus={gpus:g}" for name, gpus in wanted.items())
        raise ConfigError(
            f"{named}, and the cluster has {there:g}: take shares of a card (0.5), the engine "
            "llamacpp, or gpus=0 with vLLM's CPU build"
        )


def check_tracing(settings: Settings) -> None:
    """Raise ConfigError where traces are wanted and what sends them is not installed."""
    actors.open_tracer(settings).close()


def _reason() -> str | None:
    """What a replica of ours said when it could not start; Serve has it inside a traceback."""
    application = serve.status().applications.get(handles.APP)
    deployments = application.deployments.values() if application else ()
    messages = "\n".join(deployment.message for deployment in deployments)
    said = re.findall(r"rlvr_ray\.core\.errors\.\w+: (.+)", messages)
    return said[-1] if said else None


def stop(settings: Settings) -> None:
    """Finish the files and take the app down; a cluster that was joined stays up."""
    actors.stop_aggregator()
    serve.delete(handles.APP)
    ray.shutdown()
