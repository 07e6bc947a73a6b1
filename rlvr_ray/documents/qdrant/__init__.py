"""Passages in Qdrant: a local folder with one owner, or a server by URL.

``store`` is the Retriever, ``server`` a connection and its check, ``payloads`` what a point tells.
"""
