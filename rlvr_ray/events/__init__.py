"""Events for other programs: what is published, RabbitMQ, and a consumer for Python.

    from rlvr_ray.events import Consumer, Received, verification_completed

``schema`` has the types of the bodies (parts: ``dataset.row_types``) and makes the JSON Schema of
them, ``bodies`` builds them from records, ``outbox`` derives them from what the ledger committed,
``mirror`` sends them in order and ``rabbitmq`` is its way to the broker. ``validation`` checks
events of others, ``consumer`` reads them (``handled``: which it knows already), ``watch`` shows
events to people, ``amqp`` has what all of these share. The pipeline and the command line call this
room; nothing here imports Ray.
"""

from rlvr_ray.events.consumer import Consumer
from rlvr_ray.events.validation import (
    Received,
    validate,
    verification_completed,
    verification_failed,
)
from rlvr_ray.events.watch import tail

__all__ = [
    "Consumer",
    "Received",
    "tail",
    "validate",
    "verification_completed",
    "verification_failed",
]
