"""Alignment by text/tabwriter's rules, with docker's numbers."""

from __future__ import annotations

import pytest

from lamina.cli.columns import align, grid


@pytest.mark.parametrize(("text", "aligned"), [
    # docker/cli's own expectations of its image, history and disk usage tables
    ("REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\nimage\ttag1\timageID1\t24 hours ago\t0B\nimage\ttag2\timageID2\tN/A\t0B\n",
     "REPOSITORY   TAG       IMAGE ID   CREATED        SIZE\n"
     "image        tag1      imageID1   24 hours ago   0B\n"
     "image        tag2      imageID2   N/A            0B\n"),
    ("TYPE\tTOTAL\tACTIVE\tSIZE\tRECLAIMABLE\nLocal Volumes\t0\t0\t0B\t0B\n",
     "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\nLocal Volumes   0         0         0B        0B\n"),
    # an empty last cell: the cell before it is filled up all the same
    ("SIZE\tCOMMENT\n0B\t\n", "SIZE      COMMENT\n0B        \n"),
    # a line without a cell ends a column's block
    ("a\tb\nlong line without cells\nlonger than ten\tb\n", "a         b\nlong line without cells\nlonger than ten   b\n"),
    # characters count, not bytes
    ("ééééééééé\tb\n1234567\tb\n", "ééééééééé   b\n1234567     b\n"),
    ("", ""),
])
def test_align(text: str, aligned: str) -> None:
    assert align(text) == aligned


def test_inner_columns_are_of_their_block_only() -> None:
    text = "a\tbbbbbbbbbbbbbb\tc\na\tb\na\tb\tc\n"
    assert align(text) == "a         bbbbbbbbbbbbbb   c\na         b\na         b         c\n"


def test_grid() -> None:
    assert grid([("IMAGE", "BYTES"), ("a", "12MB"), ("longer", "1B")], "lr") == "IMAGE   BYTES\na        12MB\nlonger     1B\n"
