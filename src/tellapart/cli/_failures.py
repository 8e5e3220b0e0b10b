"""What a command raises, as an error of tellapart: here errors of the system, and faults of ours, become sentences."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback

from safetensors import SafetensorError

from tellapart.errors import DataError, Interrupted, SystemLimitError, TellapartError
from tellapart.os_errors import explain_os_error

#: Package of an extra → the extra; a command that lacks one says how to install it.
_EXTRA_OF = {
    **dict.fromkeys(("tensorboard", "mlflow", "sqlalchemy", "alembic"), "track"), "optuna": "search",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "python_multipart", "prometheus_client"), "web"),
}  # fmt: skip
_LONGEST = 300  # characters of a message of another library


class UnexpectedError(TellapartError):
    """A fault of tellapart: no user is meant to see one."""


def as_error(error: BaseException) -> TellapartError:
    """The error to print for what a command raised."""
    if isinstance(error, TellapartError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("stopped")
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRA_OF.get((error.name or "").partition(".")[0])):
        return SystemLimitError(f"{error.name} is not installed", hint=f'in the checkout: pip install ".[{extra}]"')
    return _of_system(error) or _unexpected(error)


def _of_system(error: BaseException) -> TellapartError | None:
    """The error for what the system refused; None for anything else."""
    text = str(error)
    if (isinstance(error, OSError) and error.errno) or (isinstance(error, SafetensorError) and "(os error" in text):
        return explain_os_error(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return SystemLimitError("the memory is used up", hint="end other programs, or use a machine with more memory")
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop from "):  # of Path.resolve before Python 3.13
        loop = OSError(errno.ELOOP, text, text.removeprefix("Symlink loop from ").strip("'\""))
        return explain_os_error(loop)
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return SystemLimitError("no further thread can be started", hint="raise the limit of processes: `ulimit -u`")
    if isinstance(error, ImportError) and "Too many open files" in text:
        return SystemLimitError("too many files are open", hint="raise the limit: `ulimit -n 1024`")
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return DataError(f"{error.object[:_LONGEST]}: the name is not valid UTF-8", hint="rename it")
    if isinstance(error, ValueError) and "null byte" in text:
        return DataError("a path contains a NUL character", hint="remove it")
    return None


def _unexpected(error: BaseException) -> UnexpectedError:
    """The error for a fault of ours, whose traceback is kept in a file."""
    text = " ".join(str(error).split())[:_LONGEST]
    found = f"{type(error).__name__}: {text}" if text else type(error).__name__
    lines = "".join(traceback.format_exception(error))
    try:
        number, path = tempfile.mkstemp(".txt", "tellapart-traceback-")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(lines)
        hint = f"please report it with the traceback, which is in {path}; -v prints it"
    except OSError:
        hint = "please report it with the traceback, which -v prints"
    return UnexpectedError(f"a fault of tellapart, not of your data: {found}", hint=hint)
