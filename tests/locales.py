"""An ASCII locale for subprocesses, where Python starts in one."""

import sys

# Before 3.13 Python does not start in an ASCII locale from an environment at a path beyond ASCII that has a .pth file.
ASCII_LOCALE = {"LC_ALL": "C"} if sys.prefix.isascii() or sys.version_info >= (3, 13) else {}
