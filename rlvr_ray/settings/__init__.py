"""Every setting, with its default. The defaults need no GPU, no server and no network.

Precedence: arguments (command line, ``args`` of a Serve config) over environment
(``RLVR_GENERATOR__SLOTS=4``) over a YAML file (``--config``, ``RLVR_CONFIG=file.yaml``) over these
defaults. Unknown keys are refused. ``load`` reads them; every room may.

``loading`` has the tree; ``engines``, ``verification``, ``storage`` and ``services`` have its
sections, ``section`` what these have in common; ``options`` are the command line's. ``errors`` says
what is wrong. To add a setting, add a field with a docstring to its section, and a row to
docs/settings.md.
"""

from rlvr_ray.core.questions import MAX_QUESTION_CHARS
from rlvr_ray.settings.engines import (
    DEFAULT_CANDIDATES,
    EngineName,
    EngineSettings,
    GeneratorSettings,
    JudgeSettings,
)
from rlvr_ray.settings.loading import Settings, config, load, parsed
from rlvr_ray.settings.section import MAX_CANDIDATES, MAX_TOP_K, Section, Temperature
from rlvr_ray.settings.services import (
    LOOPBACK,
    ApiSettings,
    LogSettings,
    MirrorSettings,
    TracingSettings,
)
from rlvr_ray.settings.storage import DatasetSettings, LedgerSettings, RetrievalSettings
from rlvr_ray.settings.verification import DpoSettings, VerificationSettings, VerifierSettings

__all__ = [
    "DEFAULT_CANDIDATES",
    "LOOPBACK",
    "MAX_CANDIDATES",
    "MAX_QUESTION_CHARS",
    "MAX_TOP_K",
    "ApiSettings",
    "DatasetSettings",
    "DpoSettings",
    "EngineName",
    "EngineSettings",
    "GeneratorSettings",
    "JudgeSettings",
    "LedgerSettings",
    "LogSettings",
    "MirrorSettings",
    "RetrievalSettings",
    "Section",
    "Settings",
    "Temperature",
    "TracingSettings",
    "VerificationSettings",
    "VerifierSettings",
    "config",
    "load",
    "parsed",
]
