"""Passages in Qdrant: a local folder with one owner, or a server by URL.

``store`` is the Retriever, ``server`` connects to a server and checks it, ``payloads`` reads
points.
"""
