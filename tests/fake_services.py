"""The HTTP interface over fakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rlvr_ray.core.records import Context
from rlvr_ray.dataset.queries import Queries
from rlvr_ray.serve.http import Services, create_api
from rlvr_ray.settings import Settings
from tests.fakes import FakeGenerator, FakeRecorder, FakeRetriever


class FakeServices:
    """What the interface stands on, all fakes; ``app`` is the interface over them."""

    def __init__(self, passages: Sequence[Context], data_dir: Path, **sections: Any) -> None:
        self.retriever = FakeRetriever(passages)
        self.generator = FakeGenerator()
        self.recorder = FakeRecorder()
        self.app = create_api(
            Settings(data_dir=data_dir, **sections),
            Services(
                retriever=self.retriever,
                generator=self.generator,
                recorder=self.recorder,
                archive=cast(Queries, object()),  # its routes have tests of their own
                engine="fake: a test",
                verifiers="fakes: a test",
            ),
        )
