"""Applying human reviews from the ledger to pairs."""

from dataclasses import replace
from pathlib import Path

from rlvr_ray.core.fields import DIGITS
from rlvr_ray.dataset.reviews import Verdict
from rlvr_ray.training.export.examples import Pair
from rlvr_ray.training.export.report import ExportStatistics


class Human:
    """The latest word on each pair; raises LedgerError where the folder has no ledger."""

    def __init__(self, data_dir: Path, *, reviewed_only: bool) -> None:
        from rlvr_ray.dataset.ledger import Browser

        self._reviewed_only = reviewed_only
        browser = Browser(data_dir)
        try:
            self._verdicts = browser.judged()
        finally:
            browser.close()

    def pair(self, pair: Pair, stats: ExportStatistics) -> Pair | None:
        """The pair, turned round where people say so; None where it is left out, and counted."""
        said = self._verdicts.get(pair.batch_id)
        stats.human[said.value if said else "unreviewed"] += 1
        if said is None and self._reviewed_only:
            stats.left_out["unreviewed"] += 1
            return None
        kept = reviewed_pair(pair, said)
        if kept is None:
            stats.left_out[f"human_{said}"] += 1
        return kept


def reviewed_pair(pair: Pair, said: Verdict | None) -> Pair | None:
    """The same of a pair that is exported."""
    if said in (None, Verdict.AGREE):
        return pair
    if said is not Verdict.DISAGREE:
        return None
    assert pair.margin is not None, "it has not been swapped before"
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        chosen_score=round(pair.chosen_score - pair.margin, DIGITS),
        margin=None,
        defect=None,
    )
