"""A place of its own for a process that has torch loaded already: what bubblewrap does for a command, done for a fork.

bubblewrap can only start programs, and a program needs seconds to load torch. So one program is started inside bubblewrap
with the capability to make namespaces, and each student gets a fork of it: with its own processes, network, IPC, users,
/proc, /tmp and /dev/shm, and with no capability left. Everything else is bubblewrap's, and read-only.

The system calls and their rules: unshare(2), mount(2), capabilities(7), namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_NEW_MOUNTS, _NEW_HOST, _NEW_IPC, _NEW_USERS = 0x00020000, 0x04000000, 0x08000000, 0x10000000
_NEW_PROCESSES, _NEW_NETWORK = 0x20000000, 0x40000000
_NOSUID, _NODEV, _NOEXEC, _RECURSIVE, _PRIVATE = 2, 4, 8, 0x4000, 1 << 18
_DEATH_SIGNAL, _DROP_BOUND, _AMBIENT, _CLEAR_ALL = 1, 24, 47, 4
_CAPABILITIES_V3 = 0x20080522
_KILL = 9

TEMPORARY = ("/tmp", "/dev/shm")
SPACE = 64 << 20  # bytes of each of them


def enter() -> None:
    """Fork into namespaces of its own; returns in the fork, and ends this process as the fork ended.

    It takes CAP_SYS_ADMIN in the user namespace that this process is in, and a process of one thread.

    Raises:
        OSError: the kernel does not allow it.
    """
    _check(
        _libc.unshare(_NEW_PROCESSES | _NEW_MOUNTS | _NEW_IPC | _NEW_HOST | _NEW_NETWORK),
        "namespaces of its own",
    )
    first = os.fork()
    if first:
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _check(_libc.prctl(_DEATH_SIGNAL, _KILL, 0, 0, 0), "ending with its parent")
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    for folder in TEMPORARY:
        _mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV, f"size={SPACE},mode=1777")
    os.chdir("/tmp")  # where it was is under the new one
    _own_users()
    _drop_capabilities()


def _own_users() -> None:
    """A user namespace in which there can be no other: kernel keyrings and process counts are its own too."""
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_NEW_USERS), "a user namespace of its own")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def _drop_capabilities() -> None:
    number = 0
    while _libc.prctl(_DROP_BOUND, number, 0, 0, 0) == 0:  # fails at the first that does not exist
        number += 1
    _check(_libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0), "dropping ambient capabilities")
    header, none = struct.pack("=Ii", _CAPABILITIES_V3, 0), bytes(24)
    _check(_libc.capset(header, none), "dropping capabilities")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode()), f"mounting {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({what})")


if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)
