"""Documents: reading them, cutting them into passages, finding passages.

``retriever`` is what other rooms ask and what goes in and out of it; ``stores`` opens the vector
store of the settings (``qdrant/``). ``parsers/`` has one file a format, ``folders`` finds files,
``passages`` cuts their texts. ``embedder`` is what embeds, ``minilm`` the one that does.
"""
