"""Shared by all sections: the base class, kinds of values, limits."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_CANDIDATES = 8
MAX_TOP_K = 20

#: Seen from where settings are read: Ray's workers stand in other folders.
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the tree; attribute docstrings below are the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
