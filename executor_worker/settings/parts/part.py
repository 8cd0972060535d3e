"""The ground of all parts of the settings."""

from __future__ import annotations

from typing import Annotated

from pydantic_settings import BaseSettings, SettingsConfigDict

from executor_worker.settings import kinds

Text = Annotated[str, kinds.text()]
Secret = Annotated[str, kinds.secret()]
Key = Annotated[str, kinds.key()]


class Part(BaseSettings):
    """Some of the fields of `Settings`; durations are seconds, sizes bytes, an empty text or tuple means not set."""

    model_config = SettingsConfigDict(
        defer_build=True,  # parts by themselves are never read
        frozen=True,
        case_sensitive=True,
        alias_generator=str.upper,
        enable_decoding=False,  # else lists would have to be JSON
        validate_default=False,  # they are values, and what is read are texts
        hide_input_in_errors=True,
    )
