"""From rows to a trained model: exports, DPO training, and its evaluation.

``export/`` writes folders for trainers, ``dpo`` has the options and the report of a training,
``trl`` trains in one worker, ``evaluation`` reads the export and scores answers to held-out
questions. The command line and ``jobs/train_dpo.py`` call this room.
"""
