"""Documents: read files, cut them into passages, find passages.

``retriever`` has the interface for other rooms; ``stores`` opens the vector store of the settings
(``qdrant/``). ``parsers/`` has one file a format, ``folders`` finds files, ``passages`` cuts texts.
``embedder`` is the interface of embedders, ``minilm`` the built-in one. The pipeline and ``serve``
call this room.
"""
