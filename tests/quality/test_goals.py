"""The goals that the default, and the guards around a perfect judge, have to reach.

`make quality` prints the same figures in one table.
"""

import pytest

from tests.quality.measuring import GOALS, Judge, measure, misses, path_of, table


@pytest.mark.sampled(11)
@pytest.mark.parametrize(("name", "by"), GOALS)
def test_labelled_file(name: str, by: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    if not path_of(name).exists():
        pytest.skip(f"the labelled data is not at {path_of(name)}")
    measured = measure(name, by)
    with capsys.disabled():
        print("", *table([measured], kinds=False), sep="\n")
    assert misses(measured) == []
