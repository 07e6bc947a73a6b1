"""Exports of the datasets, and DPO training on them.

``export/`` is ``rlvr export``. ``dpo`` has a training's settings, ``inputs`` what it needs, ``trl``
the training itself, ``evaluation`` its held-out questions, ``report`` what it reports. The command
line and ``jobs/train_dpo.py``, which puts a training on Ray, call this room.
"""
