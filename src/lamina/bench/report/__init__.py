"""The page: one file with pictures drawn here, no script, nothing from elsewhere."""

from lamina.bench.report.page import page

__all__ = ["page"]
