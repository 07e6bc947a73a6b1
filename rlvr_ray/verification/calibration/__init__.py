"""``rlvr judge-report``: the quality of a judge, measured on labelled answers.

``labelled`` reads the data, ``report`` runs the judge, ``evaluation``, ``measures`` and
``decisions`` compute the figures, ``picture`` draws them.
"""
