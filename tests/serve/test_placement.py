"""In a cluster of several nodes the ledger stays where its files are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from rlvr_ray.serve import deployments
from rlvr_ray.settings import Settings, load

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and two more nodes, as processes of this machine."""
    memory = 100 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False},
    )
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=memory)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, namespace=deployments.NAMESPACE, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def node(aggregator: Any) -> str:
    where = aggregator.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
    return str(ray.get(where))


def test_the_aggregator_is_on_the_head_node_after_a_crash_too(cluster: Any, tmp_path: Path) -> None:
    """Four times: an actor that asks for nothing is put on a node at random."""
    settings: Settings = load(data_dir=tmp_path / "data")
    head = cluster.head_node.node_id
    aggregator = deployments.start_aggregator(settings)
    places = [node(aggregator)]
    for _ in range(2):
        ray.kill(aggregator, no_restart=False)
        places.append(node(aggregator))
    deployments.stop_aggregator()
    places.append(node(deployments.start_aggregator(settings)))
    deployments.stop_aggregator()
    assert places == [head] * 4
