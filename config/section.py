"""The one base of every configuration section."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Refuse unknown keys, never change after loading, and keep secrets out of `repr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True)
