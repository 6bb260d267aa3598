"""The base class of every group of options in the config file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A group of options. An unknown option is a mistake, instances do not change, and the docstrings of the class and
    of its attributes are the users' documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
