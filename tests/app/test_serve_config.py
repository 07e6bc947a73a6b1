"""The Serve config that is shipped is one that Serve takes and that we can build."""

from pathlib import Path

import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from rlvr_ray import app
from rlvr_ray.settings import LOOPBACK

CONFIG = Path(__file__).parents[2] / "serve_config.yaml"


def test_serve_config_is_valid_and_builds() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text("utf-8")))
    (application,) = config.applications
    assert application.import_path == "rlvr_ray.app:app"
    assert config.http_options.host in LOOPBACK
    assert isinstance(app.app(application.args), Application)
