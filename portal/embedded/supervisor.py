"""Keeping children alive: one that dies is started again, later and later if it keeps dying."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded import processes
from portal.embedded.processes import Record, StartRefused
from portal.embedded.server import Server

FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 30.0
# A child that ran this long was healthy; its next death begins with the first pause again.
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 5


@dataclass
class Child:
    """One process of the portal: web server, worker or sandbox."""

    name: str
    command: list[str | Path]
    environment: Mapping[str, str]
    var: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.var / "log" / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return self.var / f"{self.name}.process.json"

    def start(self) -> None:
        self.stop_orphan()
        self.log.parent.mkdir(exist_ok=True)
        self.process = processes.spawn(
            self.command, log=self.log, environment=self.environment, folder=Path(__file__).parents[2]
        )
        Record.of(self.process.pid, marker=str(self.command[-1]), port=self.port).save(self._record)

    def stop_orphan(self) -> None:
        """End the same child of an earlier launcher that was killed."""
        record = Record.load(self._record)
        if record is not None and record.is_running():
            processes.stop_all({record.pid: signal.SIGTERM}, seconds=STOP_SECONDS)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def revive(self) -> None:
        """Start again after a death; its own children may live on and hold its port."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.process = None
        self.start()

    def describe_death(self) -> str:
        return f"{self.name} {how_it_ended(self.process)}; see {self.log}"


@dataclass
class EmbeddedChild:
    """An embedded server, seen by the supervisor."""

    server: Server

    @property
    def name(self) -> str:
        return self.server.title

    def is_alive(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    def revive(self) -> None:
        # Everybody else was told this port.
        self.server.asked_port = self.server.port
        self.server.spawn()
        self.server.finish()

    def describe_death(self) -> str:
        return f"{self.name} {how_it_ended(self.server.process)}; see {self.server.log}"


def how_it_ended(process: subprocess.Popen[bytes] | None) -> str:
    """Say with which status or signal a process ended."""
    code = None if process is None else process.returncode
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"


@dataclass
class _Watch:
    child: Child | EmbeddedChild
    began_at: float
    pause: float = FIRST_PAUSE_SECONDS
    due_at: float | None = None


@dataclass
class Supervisor:
    """Looks after children from one thread; `say` gets a sentence whenever one dies or comes back."""

    say: Callable[[str], None]
    _watches: list[_Watch] = field(default_factory=list)

    def add(self, child: Child | EmbeddedChild) -> None:
        self._watches.append(_Watch(child, began_at=time.monotonic()))

    def look(self) -> None:
        """Notice deaths and start again what is due; call it a few times a second."""
        for watch in self._watches:
            now = time.monotonic()
            if watch.due_at is None:
                if not watch.child.is_alive():
                    self._note_death(watch, now)
            elif now >= watch.due_at:
                self._revive(watch)

    def _note_death(self, watch: _Watch, now: float) -> None:
        if now - watch.began_at >= HEALTHY_SECONDS:
            watch.pause = FIRST_PAUSE_SECONDS
        watch.due_at = now + watch.pause
        self.say(f"{watch.child.describe_death()}. Starting it again in {watch.pause:g} s.")
        watch.pause = min(watch.pause * 2, LAST_PAUSE_SECONDS)

    def _revive(self, watch: _Watch) -> None:
        try:
            watch.child.revive()
        except (StartRefused, OSError) as failure:
            self.say(f"{failure} Trying again in {watch.pause:g} s.")
            watch.due_at = time.monotonic() + watch.pause
            watch.pause = min(watch.pause * 2, LAST_PAUSE_SECONDS)
            return
        watch.began_at, watch.due_at = time.monotonic(), None
        self.say(f"{watch.child.name} was started again.")

    def stop_children(self) -> None:
        """Stop the portal's own processes at once; the servers they use are stopped after them."""
        children = [watch.child for watch in self._watches if isinstance(watch.child, Child)]
        running = {
            child.process.pid: signal.SIGTERM for child in children if child.process and child.is_alive()
        }
        killed = processes.stop_all(running, seconds=STOP_SECONDS)
        for child in children:
            if child.process is not None and child.process.pid in killed:
                self.say(f"{child.name} did not stop within {STOP_SECONDS} s and was killed.")
            if child.process is not None:
                child.process.wait()
                try:
                    os.killpg(child.process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    child.process = None
