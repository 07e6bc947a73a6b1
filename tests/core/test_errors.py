"""Exceptions: they travel between processes, and the drawing of their tree is true."""

import inspect
import pickle
import re

import pytest

from rlvr_ray.core import errors

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, BaseException)
}


def drawn(picture: str) -> dict[str, str | None]:
    """Class → its parent, as the docstring draws them: the column of a name is its depth."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in picture.splitlines():
        found = re.match(r"^ {4}[ │├└─]*(?P<name>[A-Z]\w+)(?: |$)", line)
        if found is None:
            continue
        column = found.start("name")
        while above and above[-1][0] >= column:
            above.pop()
        parents[found["name"]] = above[-1][1] if above else None
        above.append((column, found["name"]))
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    assert errors.__doc__ is not None
    real = {
        name: None if kind is errors.RlvrError else kind.__bases__[0].__name__
        for name, kind in CLASSES.items()
    }
    assert drawn(errors.__doc__) == real


def test_the_reader_of_drawings_sees_depth() -> None:
    picture = "A.\n\n    Top\n    ├── One  words\n    │   └── Deep words\n    └── Two  words\n\nB."
    assert drawn(picture) == {"Top": None, "One": "Top", "Deep": "One", "Two": "Top"}


def test_every_class_has_one_base_and_says_what_it_means() -> None:
    assert errors.RlvrError.__bases__ == (Exception,)
    for kind in CLASSES.values():
        assert len(kind.__bases__) == 1
        assert kind.__doc__


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", CLASSES)
def test_every_error_survives_pickling(name: str, protocol: int) -> None:
    error = CLASSES[name]("free some room, then ask again")
    error.add_note("seen on node 7")
    read = pickle.loads(pickle.dumps(error, protocol))
    assert type(read) is CLASSES[name]
    assert str(read) == "free some room, then ask again"
    assert read.args == error.args
    assert read.__notes__ == ["seen on node 7"]
