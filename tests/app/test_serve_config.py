"""The Serve config that is shipped is one that Serve takes and that we can build."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from rlvr_ray import app
from rlvr_ray.errors import ConfigError
from rlvr_ray.models import SMOLLM2_135M
from rlvr_ray.settings import LOOPBACK

CONFIG = Path(__file__).parents[2] / "serve_config.yaml"


def test_serve_config_is_valid_and_builds() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text("utf-8")))
    (application,) = config.applications
    assert application.import_path == "rlvr_ray.app:app"
    assert config.http_options.host in LOOPBACK
    assert isinstance(app.app(application.args), Application)


OPENAI = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("judge", "deployed"),
    [
        ({}, False),
        ({"engine": "llamacpp", "model_path": str(SMOLLM2_135M.locate())}, True),
        (OPENAI, False),
    ],
    ids=["generator", "llamacpp", "openai"],
)
def test_a_judges_own_model_has_a_deployment_of_its_own(
    judge: dict[str, Any], deployed: bool
) -> None:
    application = app.app({"judge": judge})
    names = {bound.name for bound in _bound(application)}
    assert names == {"Ask", "Generator", "Retriever", "Verifier", *(["Judge"] if deployed else [])}


def test_a_verifier_that_is_not_installed_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="there is no vibes; installed: exact, grounded"):
        app.app({"verification": {"verifiers": ["vibes"]}})


def _bound(application: Any) -> list[Any]:
    """The deployments of an application, which Serve keeps as arguments of each other."""
    bound = application._bound_deployment
    arguments = (argument for argument in bound.init_args if isinstance(argument, Application))
    return [bound, *(each for argument in arguments for each in _bound(argument))]
