"""Files of questions: the run, its report, the plan, and questions made from documents.

``request`` has the options of a run, ``driver`` runs it in this process with ``run``, ``progress``
and ``statistics``, ``submission`` submits it as a Ray job (the only module with Ray), ``dry_run``
estimates it, ``report`` and ``picture`` write its report. ``question_files/`` reads questions,
``question_making/`` makes them, ``capacity`` plans GPUs. The command line and ``jobs/`` call this
room.
"""
