"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve."""

from __future__ import annotations

from lamina.registry.server.page.answer import Page, text_page
from lamina.registry.server.page.library import Library


def alive() -> Page:
    """It answers, so it lives: a supervisor need not start it again."""
    return text_page("ok\n")


def ready(library: Library) -> Page:
    """200 if it can serve; else 503 and why, a line each: a balancer sends others elsewhere."""
    found = library.problems()
    return text_page("".join(f"{one}\n" for one in found), 503) if found else text_page("ok\n")
