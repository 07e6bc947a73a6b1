"""Scores and defects of answers: the panel, its verifiers, and rules that need no model.

``verifier`` has the interfaces, ``factory`` builds the panel of the settings, ``panel`` runs it,
``verifiers/`` has one file or folder a verifier, ``grounding/`` decides by evidence. ``screening``,
``steering``, ``controls``, ``statements`` and ``abstention`` protect and complete the judge,
``citing`` shows people what supports a statement. ``calibration/`` is ``rlvr judge-report``. The
pipeline and ``serve`` call this room.
"""
