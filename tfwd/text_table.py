"""Tables of text whose columns are aligned."""


def lines(rows, align_right=False):
    """Returns rows of strings as lines, with two spaces between columns.

    Args:
        rows: Tuples or lists of strings, all of one length.
        align_right: Whether all columns but the first end, not begin, at one
            place, as numbers do.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    others = str.rjust if align_right else str.ljust
    pads = [str.ljust, *[others] * (len(widths) - 1)]
    return [
        "  ".join(
            pad(cell, width)
            for pad, cell, width in zip(pads, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
