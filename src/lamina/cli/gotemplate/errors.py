"""The one error of a template, in the words that docker uses."""

from __future__ import annotations

from lamina.errors import LaminaError


class TemplateError(LaminaError):
    """The template cannot be parsed, or not be executed on this data."""

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(f"template parsing error: template: :{line}: {message}", hint=hint)
