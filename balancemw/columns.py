"""A table in plain text, for where rich is not installed. Nothing is cut off, however wide it gets."""

from collections.abc import Sequence


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """The lines of a table, the first of which are its headings and a rule.

    Args:
        headings: of the columns.
        rows: as many cells each.
        left: how many columns are words, which begin below each other; numbers, in the others, end so.
    """
    widths = [max(map(len, cells)) for cells in zip(headings, *rows, strict=True)]
    lines = []
    for row in (headings, ["-" * width for width in widths], *rows):
        cells = (
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines
