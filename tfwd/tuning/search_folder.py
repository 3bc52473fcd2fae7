"""The folder of a search: whose it is, and who may write to it."""

import datetime
import pathlib

from tfwd import durable
from tfwd.training.config import fields
from tfwd.training.config import flag_lines
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.runs import output
from tfwd.training.runs import run_files
from tfwd.tuning import flags as flags_lib

FLAGS = "search.flags"
KINDS = (settings_lib.Settings, flags_lib.Search)
# Where and how a search is carried out, and what is done with its results.
_NOT_OF_THE_SEARCH = ("output_dir", "resume", "dry_run")
_MAY_DIFFER = (
    *flag_lines.MAY_DIFFER,
    *("max_trials", "retrain", "keep_trials"),
)


def path_of(flags, now=None):
    """Returns the path of a search's folder, `--output_dir` or a fresh one.

    Raises:
        ValueError: It is no folder.
    """
    values = flags.values
    if values["output_dir"] is not None:
        return paths.expanded("output_dir", values["output_dir"], "a folder")
    now = now or datetime.datetime.now()
    # A colon in a path would end it in lists of paths.
    model = values["model"].rpartition(":")[2]
    name = f"tune-{values['dataset']}-{model}-{now:%Y%m%d-%H%M%S}"
    return pathlib.Path("runs", name)


def lines(flags):
    """The lines that replay a search, without its folder."""
    return [
        line
        for kind in KINDS
        for field in fields.of(kind)
        if field.name not in _NOT_OF_THE_SEARCH
        and flags.values[field.name] != field.default
        for line in flag_lines.lines_of(field, flags.values[field.name])
    ]


def claim(path, flags):
    """Makes the folder of a search, or goes on with it, and locks it.

    Args:
        path: What `path_of` returned.
        flags: The `flagfile.Flags` of the search.

    Returns:
        The `lock.Lock`.

    Raises:
        ValueError: It holds something else, or another process searches in it,
            or it cannot be written; one line. Nothing has been changed then.
    """
    try:
        check(path, flags)
        durable.make_folder(path)
        lock = output.locked(path, "search")
        try:
            # Somebody may have been faster.
            check(path, flags)
            text = "\n".join(lines(flags)) + "\n"
            durable.write_text(path / FLAGS, text)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        reason = error.strerror or error
        rules.refuse("output_dir", f"must be writable ({reason})", path)
    return lock


def check(path, flags):
    """Checks that a folder is new, empty or that of this search.

    Raises:
        ValueError: It is not; one line.
    """
    if path.exists() and not path.is_dir():
        rules.refuse("output_dir", "must be a folder", path)
    if not (path / FLAGS).exists():
        names = (*run_files.NAMES, "oracle.json", "trials.csv")
        for name in names:
            if (path / name).exists():
                rules.refuse(
                    "output_dir", f"must be of no other run, with {name}", path
                )
        if flags.values["resume"] == "must":
            rules.refuse(
                "resume", f"needs a search to go on with in {path}", "must"
            )
        return
    if flags.values["resume"] == "never":
        rules.refuse(
            "output_dir",
            "must be a new folder under --resume=never; a search is already "
            "there",
            path,
        )
    check_same(path, flags)


def check_same(path, flags):
    """Checks that a search that is in a folder, if any, is this one.

    Raises:
        ValueError: It is another one; one line.
    """
    try:
        text = (path / FLAGS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    differences = _differences(text.splitlines(), lines(flags))
    if differences:
        found = "; ".join(
            f"--{name}={there}, not --{name}={here}"
            for name, there, here in differences
        )
        rules.refuse(
            "output_dir",
            f"must be a new folder; it holds a search with {found}",
            path,
        )


def _differences(there, here):
    """Returns names with the values of two searches, where they differ."""
    defaults = flag_lines.by_name(
        line
        for kind in KINDS
        for field in fields.of(kind)
        for line in flag_lines.lines_of(field, field.default)
    )
    there, here = (
        defaults | flag_lines.by_name(each) for each in (there, here)
    )
    return flag_lines.different(there, here, _MAY_DIFFER)
