"""Where in the user's program something happened.

The user's frame is the innermost one whose code does not lie in gradc's own folders. Taking a
location must be cheap (it is done for every traced eqn), so frames are walked by hand and only
the code object and the instruction are kept; the line and its text are worked out when asked.
"""

from __future__ import annotations

import linecache
import os
import sys
from types import CodeType, FrameType

_OWN_FOLDERS: list[str] = []
_OWN_CODE: dict[CodeType, bool] = {}


def register_own_folder(folder: str) -> None:
    """Frames of files below `folder` are gradc's own and never the user's."""
    path = os.path.join(os.path.realpath(folder), "")
    if path not in _OWN_FOLDERS:
        _OWN_FOLDERS.append(path)
        _OWN_CODE.clear()


class Location:
    """A line of the user's program. Two locations are equal when file and line are."""

    __slots__ = ("code", "line")

    def __init__(self, code: CodeType, line: int) -> None:
        self.code = code
        self.line = line

    @property
    def file(self) -> str:
        return self.code.co_filename

    @property
    def basename(self) -> str:
        """The file's last component, as it stands in generated text."""
        return os.path.basename(self.file)

    @property
    def function(self) -> str:
        return self.code.co_name

    @property
    def text(self) -> str:
        """The source line without its indentation; empty where the source is not at hand."""
        return linecache.getline(self.file, self.line).strip()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and (self.file, self.line) == (other.file, other.line)

    def __hash__(self) -> int:
        return hash((self.file, self.line))

    def __str__(self) -> str:
        return f"{self.basename}:{self.line}"

    __repr__ = __str__


def is_own_code(code: CodeType) -> bool:
    """Whether `code` belongs to gradc."""
    known = _OWN_CODE.get(code)
    if known is None:
        name = code.co_filename
        path = os.path.realpath(name) if os.path.exists(name) else name
        known = any(path.startswith(folder) for folder in _OWN_FOLDERS)
        _OWN_CODE[code] = known
    return known


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame above the caller that is not gradc's own."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_own_code(frame.f_code):
        frame = frame.f_back
    return frame


def user_location(depth: int = 2) -> Location | None:
    """The user's line that is running now, or None if every frame is gradc's own."""
    frame = user_frame(depth)
    return None if frame is None else Location(frame.f_code, frame.f_lineno)
