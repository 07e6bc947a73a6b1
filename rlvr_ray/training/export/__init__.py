"""``rlvr export``: pairs and answers as a folder for a trainer.

``request`` has the options, ``folder`` does the export, ``selection`` and ``examples`` choose the
rows, ``formats`` has one function a format, ``splitting`` makes train and eval, ``contradictions``,
``decontamination`` and ``near_duplicates`` leave rows out, ``card`` writes the README, ``hub``
uploads.
"""
