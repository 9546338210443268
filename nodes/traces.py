"""Where an exception was raised, for the author of a node: the line of her code, and the way that led there.

Paths are shortened: those who read this in a run are not told where the server keeps its files. The texts of the
exceptions are left out, since they may hold a user's content; the message of a failure is told apart from this.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType

from innkeeper.nodes.catalogue.manager import short_path

PLUGIN_PACKAGE = "innkeeper_nodes_"
"""How the names of the packages begin that plugins are imported as (`nodes.loader`)."""
MAX_LINES = 40
MAX_CODE_CHARS = 160
_ENGINE = ("innkeeper.activities.", "innkeeper.nodes.bridge", "innkeeper.nodes.child.", "temporalio.")
_LIBRARIES = tuple(dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_Step = tuple[FrameType, int]


class RemoteFault(Exception):
    """An exception that was raised in another process, which told where.

    Attributes:
        where, trace: As `where_of` and `trace_of` found them there.
        traceback: As Python prints it.
    """

    where: str = ""
    trace: Sequence[str] = ()
    traceback: str = ""


def where_of(error: BaseException, *, only_plugins: bool = False) -> str | None:
    """`file:line in function` of the innermost line that the node's author wrote; None when there is none.

    Args:
        only_plugins: Nothing of our own nodes counts: what they raise, they raise on purpose.
    """
    if isinstance(error, RemoteFault):
        return error.where or None
    steps = list(_steps(error.__traceback__))
    plugin = next((step for step in reversed(steps) if _is_plugin(step[0])), None)
    if plugin is not None or only_plugins:
        return place_of(*plugin) if plugin is not None else None
    own = next((step for step in reversed(steps) if not _is_library(step[0])), None)
    return place_of(*own) if own is not None else None


def trace_of(error: BaseException) -> list[str]:
    """The stack of an exception and of those that led to it, oldest first; the engine's own frames are left out."""
    if isinstance(error, RemoteFault):
        return list(error.trace)
    lines = [line for each in reversed(list(_chain(error))) for line in _lines(each)]
    return lines[-MAX_LINES:]


def full_trace(error: BaseException, max_chars: int) -> str:
    """The traceback as Python prints it, for the log of this machine; of a long one its end."""
    text = error.traceback if isinstance(error, RemoteFault) else "".join(traceback.format_exception(error))
    return text[-max_chars:]


def place_of(frame: FrameType, line: int) -> str:
    """`file:line in function` of one frame."""
    return f"{_file_of(frame)}:{line} in {frame.f_code.co_name}"


def author_frame(frame: FrameType | None) -> FrameType | None:
    """Of a running stack the innermost frame of a node's code: of a plugin, else of anything but libraries and us."""
    stack = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    plugin = next((each for each in stack if _is_plugin(each)), None)
    return plugin or next((each for each in stack if not _is_library(each)), None)


def _lines(error: BaseException) -> Iterator[str]:
    yield type(error).__name__
    for frame, line in _steps(error.__traceback__):
        code = linecache.getline(frame.f_code.co_filename, line).strip()
        yield f"  {place_of(frame, line)}" + (f": {code[:MAX_CODE_CHARS]}" if code else "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _steps(trace: TracebackType | None) -> Iterator[_Step]:
    return ((frame, line) for frame, line in traceback.walk_tb(trace) if not _name_of(frame).startswith(_ENGINE))


def _file_of(frame: FrameType) -> str:
    file, package = Path(frame.f_code.co_filename), sys.modules.get(_name_of(frame).partition(".")[0])
    if _is_plugin(frame) and package is not None and package.__path__:
        root = Path(package.__path__[0])
        if file.is_relative_to(root):
            return f"{root.name}/{file.relative_to(root).as_posix()}"
    return short_path(file)


def _is_plugin(frame: FrameType) -> bool:
    return _name_of(frame).startswith(PLUGIN_PACKAGE)


def _is_library(frame: FrameType) -> bool:
    name, file = _name_of(frame), frame.f_code.co_filename
    if name.startswith("innkeeper."):
        return name.startswith(_ENGINE)
    return file.startswith((*_LIBRARIES, "<"))


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
