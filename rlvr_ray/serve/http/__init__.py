"""The HTTP interface: one file a subject, which checks requests, calls the pipeline and replies.

To add a route, write it in the file of its subject, with a response model of ``client.models``.
"""

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
from rlvr_ray.serve.http.services import Services
from rlvr_ray.settings import Settings

__all__ = ["Services", "create_api"]


def create_api(settings: Settings, services: Services) -> FastAPI:
    """The whole interface over these services."""
    dependencies = [Depends(access.same_origin)]
    if settings.api.key is None:
        dependencies.append(Depends(access.local_name))
    api = FastAPI(title="rlvr_ray", version=__version__, dependencies=dependencies)
    api.add_middleware(problems.BodyLimit)
    problems.add_problems(api)
    guarded = [
        dataset.routes(services),  # before the path of one batch, which would take its paths
        reviews.routes(services),
        asks.routes(settings, services),
        batches.routes(services),
        documents.routes(settings, services),
        system.routes(services),
        tracing.routes(settings, services),
    ]
    for router in guarded:
        api.include_router(router, dependencies=[access.guard(settings)])
    api.include_router(access.routes(settings))
    api.include_router(system.probes(services))
    page.add_page(api)
    return api
