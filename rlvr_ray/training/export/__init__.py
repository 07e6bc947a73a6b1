"""``rlvr export``: the datasets of a data folder as a folder that a trainer reads.

``request`` is what was asked for, ``folder`` does it: ``selection`` reads the rows and picks pairs
and answers (``examples``, ``choosing``), ``filters`` leaves rows out (``contradictions``,
``decontamination``, ``near_duplicates``), ``splitting`` makes train and eval, ``formats`` writes a
row as its trainer wants it, ``card`` is the README and ``report`` what a person is shown. ``hub``
uploads it. To add a format, see ``formats``.
"""
