"""The HTTP interface: checks what comes in, asks the pipeline, says what happened."""

from fastapi import Depends, FastAPI

from rlvr_ray import __version__
from rlvr_ray.serve.http import (
    access,
    asks,
    batches,
    dataset,
    documents,
    page,
    problems,
    reviews,
    system,
    tracing,
)
from rlvr_ray.serve.http.services import Parts, Probed, Watched
from rlvr_ray.settings import Settings

__all__ = ["Parts", "Probed", "Watched", "create_api"]


def create_api(settings: Settings, parts: Parts) -> FastAPI:
    """The whole interface over the given parts."""
    dependencies = [Depends(access.same_origin)]
    if settings.api.key is None:
        dependencies.append(Depends(access.local_name))
    api = FastAPI(title="rlvr_ray", version=__version__, dependencies=dependencies)
    api.add_middleware(problems.BodyLimit)
    problems.add_problems(api)
    guarded = [
        dataset.routes(parts),  # before the path of one batch, which would take its paths
        reviews.routes(parts),
        asks.routes(settings, parts),
        batches.routes(parts),
        documents.routes(settings, parts),
        system.routes(parts),
        tracing.routes(settings, parts),
    ]
    for router in guarded:
        api.include_router(router, dependencies=[access.guard(settings)])
    api.include_router(access.routes(settings))
    api.include_router(system.probes(parts))
    page.add_page(api)
    return api
