"""What a tuner cannot search, however well it is said."""

from tfwd.training.config import rules
from tfwd.tuning.values import dimension

LARGEST_GRID = 100_000


def check(search, dimensions, links):
    """Checks that the tuner of a search can search its space.

    Args:
        search: `flags.Search`.
        dimensions: A `dimension.Range` or `Choice` for each `--search`.
        links: {name: text} of each `--link`.

    Raises:
        UsageError: A grid has a range without its number of points, or too
            many cells; Hyperband is to search the epochs. One line.
    """
    if search.tuner == "grid":
        _check_grid(search, dimensions)
    if search.tuner == "hyperband":
        _check_budget(search, dimensions, links)


def _check_grid(search, dimensions):
    count = 1
    for each, text in zip(dimensions, search.search, strict=True):
        if isinstance(each, dimension.Range) and each.count is None:
            rules.refuse(
                "search", "must end in :N, the points of --tuner=grid", text
            )
        count *= len(each.points())
    if count > LARGEST_GRID:
        rules.refuse(
            "search",
            f"must make a grid of at most {LARGEST_GRID} cells, not {count}",
            search.search[-1],
        )


def _check_budget(search, dimensions, links):
    rule = "must not be of epochs, which are the budget of --tuner=hyperband"
    for each, text in zip(dimensions, search.search, strict=True):
        if each.name == "epochs":
            rules.refuse("search", rule, text)
    if "epochs" in links:
        rules.refuse("link", rule, f"epochs={links['epochs']}")
