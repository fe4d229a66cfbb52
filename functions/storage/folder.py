"""A store that is a folder: no link that somebody has planted in it is followed, to a file or through a folder."""

import os
import stat
from itertools import accumulate
from pathlib import Path


def leads_astray(root: Path, path: str) -> bool:
    """Whether something stands on the way to this path, or at it, that is neither a file nor a folder: a link, a pipe.

    The root itself may be a link, which is the operator's. What is not there leads nowhere.
    """
    on_the_way = accumulate(path.strip("/").split("/"), os.path.join, initial=str(root))
    return not all(_is_plain(each) for each in list(on_the_way)[1:])


def _is_plain(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # it is not there, or no path at all: a NUL, a name that is too long
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
