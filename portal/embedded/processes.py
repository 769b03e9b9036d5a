"""Starting, recognising and stopping the processes that `make run` and the tests stand on."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from portal.kernel.errors import TagihError

POLL_SECONDS = 0.02
# A log longer than this is set aside when its process starts again; one earlier log is kept.
LOG_BYTES_MAX = 5_000_000
# What of a log is quoted when a process dies: enough for the reason, short enough to read.
LOG_QUOTE_CHARACTERS = 400


class StartRefused(TagihError):
    """Something cannot start; the sentence names it, the reason and what to set instead."""

    code = "start_refused"


@dataclass(frozen=True)
class Account:
    """Who runs a server: None means the calling user, else a user that root drops to."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_path(cls, path: Path) -> Self:
        """Choose the unprivileged account for data at `path`; PostgreSQL refuses to run as root.

        Data laid down by a plain user stays his when root starts it, so both may go on using it.
        """
        if os.geteuid() != 0:
            return cls()
        owner = path.stat() if path.exists() else None
        if owner is not None and owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    def give(self, path: Path) -> None:
        """Make the account the owner of one file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Record:
    """What is kept of a process so that a later launcher can tell it from a stranger."""

    pid: int
    start_ticks: int
    marker: str
    port: int

    @classmethod
    def of(cls, pid: int, *, marker: str, port: int) -> Self:
        return cls(pid=pid, start_ticks=_start_ticks(pid) or 0, marker=marker, port=port)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return the record at `path`, or None if there is none or a crash cut it short."""
        try:
            return cls(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(path)

    def is_running(self) -> bool:
        """Tell whether the very process still runs: a recycled pid has another start and command line."""
        return _start_ticks(self.pid) == self.start_ticks and self.marker in command_line(self.pid)


def _start_ticks(pid: int) -> int | None:
    try:
        # The second field is the name in brackets and may hold spaces: count from its end (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie has ended; only its parent has not looked yet.
    return None if fields[0] == "Z" else int(fields[19])


def command_line(pid: int) -> str:
    """Return the arguments of a process joined by spaces, empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path | None,
    account: Account = Account(),
    environment: Mapping[str, str] | None = None,
    folder: Path = Path("/"),
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that Ctrl-C reaches the launcher alone.

    It gets `death_signal` when the launcher dies, even by `kill -9`. The kernel watches the thread
    that started it, so call this from a thread that lives as long as the launcher.
    """
    words = [str(word) for word in command]
    setpriv = shutil.which("setpriv")
    if setpriv:
        words = [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--", *words]
    if log is not None and log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    with open(log, "ab") if log is not None else nullcontext() as output:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            cwd=folder,
            env=dict(environment) if environment is not None else None,
            user=account.uid,
            group=account.gid,
            extra_groups=[] if account.uid is not None else None,
            start_new_session=True,
        )


def stop_all(processes: Mapping[int, signal.Signals], *, seconds: float) -> list[int]:
    """Signal every process at once and wait; return those that had to be killed after `seconds`."""
    for pid, number in processes.items():
        send(pid, number)
    waiting = set(processes)
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        waiting = {pid for pid in waiting if _still_runs(pid)}
        time.sleep(POLL_SECONDS)
    for pid in waiting:
        send(pid, signal.SIGKILL)
    for pid in waiting:
        wait_until(lambda pid=pid: not _still_runs(pid), seconds=5)  # type: ignore[misc]
    return sorted(waiting)


def _still_runs(pid: int) -> bool:
    try:
        # Collects our own child; an orphan of an earlier launcher belongs to somebody else.
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return _start_ticks(pid) is not None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(ready: Callable[[], bool], *, seconds: float) -> bool:
    """Poll `ready` until it is true; return False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def port_answers(port: int) -> bool:
    """Tell whether something accepts connections on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


def port_is_free(port: int) -> bool:
    """Tell whether this loopback port can be bound, as a server would (SO_REUSEADDR)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def quote_log(log: Path) -> str:
    """Return the end of a log in one line, for a sentence about why its process died."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return " ".join(text[-LOG_QUOTE_CHARACTERS:].split())
