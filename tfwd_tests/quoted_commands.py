"""Finds the commands of this repository that its texts quote.

A command runs a module (`python -m tfwd...`) or a script (`launch/...`). It is
quoted between backticks, as an indented line, in a block of Markdown that
begins with three backticks and `sh`, or as a whole string of Python. Quotes are
given with one blank between words, without comments, as `python` or
`launch/...` whatever the path to it.
"""

import ast
import re

_MENTION = re.compile(r"-m\s+tfwd|\blaunch/\w+\.(?:sh|sbatch|py)\b")
_COMMAND = re.compile(r"(?:\./)?launch/\w+\.(?:sh|sbatch|py)(?: --.*)?")
_STRAY = re.compile(rf".*(?:{_MENTION.pattern}).*")
_QUOTES = (
    re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE),
    re.compile(r"(?<!`)`([^`]+)`(?!`)"),
    re.compile(r"^ {4,}(\S(?:.|(?<=\\)\n)*)$", re.MULTILINE),
)
_SECTION = re.compile(r"^(\w+): ", re.MULTILINE)


def everywhere(root):
    """Returns the commands that people read, with the file of each.

    Args:
        root: Of the repository.

    Returns:
        ({command: file}, [file and line of a mention that is no quote]).
    """
    commands, strays = {}, []
    for pattern, find in (
        ("README.md", in_text),
        ("CONTRIBUTING.md", in_text),
        ("configs/**/*.flags", in_config),
        ("tfwd/**/*.py", in_python),
        ("tfwd_tests/benchmarks/*.py", in_python),
    ):
        for path in sorted(root.glob(pattern)):
            found, others = find(path.read_text("utf-8"))
            name = path.relative_to(root).as_posix()
            for command in found:
                commands.setdefault(command, name)
            strays += [f"{name}: {line}" for line in others]
    return commands, strays


def in_text(text):
    """Returns the commands that a text quotes, and mentions out of quotes.

    Args:
        text: Markdown, a docstring or an error message.

    Returns:
        ([command], [line that mentions one out of quotes]).
    """
    commands = []
    for pattern in _QUOTES:

        def take(match):
            lines = re.sub(r"\\\n", " ", match[1])
            # What stands between backticks may be broken anywhere.
            lines = lines.split("\n") if match[0][:3] == "```" else [lines]
            found = [_plain(line) for line in lines if _MENTION.search(line)]
            commands.extend(found)
            # What one pattern has taken no other one takes.
            return "" if found else match[0]

        text = pattern.sub(take, text)
    return commands, [_plain(match[0]) for match in _STRAY.finditer(text)]


def in_python(source):
    """Returns the commands in the strings of a Python file, as `in_text`.

    What an f-string puts in stands as `{...}`.
    """
    commands, strays = [], []
    for text in _strings(ast.parse(source)):
        is_command = _COMMAND.fullmatch(text)
        found = ([_plain(text)], []) if is_command else in_text(text)
        commands += found[0]
        strays += found[1]
    return commands, strays


def in_config(source):
    """Returns the command in the header of a flagfile, as `in_text`."""
    lines = [line[1:].strip() for line in source.split("\n") if line[:1] == "#"]
    sections = _SECTION.split("\n".join(lines))[1:]
    by_name = dict(zip(sections[::2], sections[1::2], strict=True))
    commands = [_plain(by_name.pop("Command"))]
    return commands, list(filter(_MENTION.search, by_name.values()))


def _plain(command):
    command = " ".join(re.sub(r"\s# .*", "", command).split())
    command = re.sub(r"(^| )\S*/python ", r"\1python ", command)
    return command.removeprefix("./")


def _strings(node):
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            each.value if isinstance(each, ast.Constant) else "{...}"
            for each in node.values
        )
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)
