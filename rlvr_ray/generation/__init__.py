"""Language models: prompts, engines, limits on calls in flight.

``generator`` has the interface and its types, ``prompts`` the prompt of an answer, ``engines/`` one
file or folder an engine, ``selection`` chooses engine and verifiers for ``auto``, ``throttle``
limits calls, ``model_files`` finds the embedded models. ``serve``, ``bulk`` and the verifiers call
this room.
"""
