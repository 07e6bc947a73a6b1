"""From a question to its outcome: ask, record, verify, decide.

``ask`` answers a question. ``aggregator`` is the only writer and drives everything after the reply,
with ``verification_loop`` and ``projection_loop``; ``recorder`` is its interface. ``external``
takes verifications of other programs. ``live`` is the hub of live events, ``live_publisher`` sends
it those of an ask; ``commit_observer`` and ``spans`` report to logs, metrics and traces; ``trace``
shows the history of a batch. ``maintenance`` and ``ingestion`` work without a server. ``serve``,
``bulk`` and the command line call this room.
"""
