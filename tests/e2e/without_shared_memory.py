"""`python -m tests.e2e.without_shared_memory universe download ...`: the real command where no file can be shared as memory.

Network file systems, FUSE with direct I/O and some container mounts are like that: mmap with MAP_SHARED fails there with ENODEV.
Here the kernel refuses the same call to this process, wherever the file is (seccomp, which needs no privilege).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

from cryptoservice.cli.main import main

_MMAP = {"x86_64": 9, "aarch64": 222}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
# struct seccomp_data: the number of the call first, its arguments of eight bytes each from byte 16 on.
_PROTECTION, _FLAGS = 16 + 8 * 2, 16 + 8 * 3
_PROT_WRITE, _MAP_SHARED = 2, 1


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def refuse_shared_memory() -> None:
    """From now on, in this process and those that it starts, a file that is mapped to be shared and written is refused."""
    steps = (
        _step(_LOAD, 0),
        _step(_IF_EQUAL, _MMAP[platform.machine()], if_false=5),
        _step(_LOAD, _FLAGS),
        _step(_IF_ANY_BIT, _MAP_SHARED, if_false=3),
        _step(_LOAD, _PROTECTION),
        _step(_IF_ANY_BIT, _PROT_WRITE, if_false=1),
        _step(_RETURN, _FAIL | errno.ENODEV),
        _step(_RETURN, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    system = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0)):
        if system.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the kernel takes no filter")


if __name__ == "__main__":
    refuse_shared_memory()
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
