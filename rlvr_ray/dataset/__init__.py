"""Stored data: the ledger, the rows, the files made from it, searches and reviews.

``ledger/`` is the SQLite file. ``rows`` builds the rows, ``row_types`` has their types, ``arrow``
the Parquet columns that follow from them. ``files`` writes JSONL and Parquet, ``part_stream`` makes
Parquet for downloads, ``projection`` keeps the files up to date with the ledger. ``group_commit``
shares commits, ``queries`` and ``filters`` search, ``reviews`` applies reviews, ``audit`` checks
everything. ``state``, ``provenance`` and ``stats`` are the values that queries return. The
pipeline, ``serve``, ``bulk`` and exports call this room.
"""
