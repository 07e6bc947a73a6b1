"""Many questions at once: ``rlvr generate``, ``rlvr questions`` and ``rlvr plan``.

``request`` is what was asked for; ``submission`` sends it to the cluster as a job, ``driver`` does
it in this process. ``run`` asks the questions, ``statistics`` counts them, ``progress``, ``report``
and ``picture`` show it. ``dry_run`` and ``capacity`` estimate. ``question_files`` reads questions,
``question_making`` writes them. The command line and ``jobs/`` call this room.
"""
