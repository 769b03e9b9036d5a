"""What the three embedded servers have in common: one process each, spawned first and awaited later."""

import signal
import subprocess
from pathlib import Path
from typing import ClassVar

from portal.embedded import processes
from portal.embedded.home import Home
from portal.embedded.processes import Record, StartRefused

START_SECONDS = 30
STOP_SECONDS = 8


class Server:
    """One embedded server: `spawn()` starts it, `finish()` waits until it can be used.

    The two are apart so that all servers boot at the same time without threads.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    # What to set to use a server of one's own, and to move the embedded one.
    instead: ClassVar[str]
    port_variable: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, home: Home, *, durable: bool, port: int | None = None) -> None:
        self.home = home
        self.durable = durable
        self.asked_port = port
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.home.folder(self.name)

    @property
    def log(self) -> Path:
        return self.home.log(self.name)

    def refuse(self, reason: str) -> StartRefused:
        return StartRefused(
            f"{self.title} cannot start: {reason} Set {self.instead} to use your own instead."
        )

    def choose_port(self) -> None:
        """Take the configured port, else the one of the last run if it is still free, else any."""
        if self.asked_port is not None:
            if not processes.port_is_free(self.asked_port):
                raise StartRefused(
                    f"{self.title} cannot start: port {self.asked_port} is taken. "
                    f"Set {self.port_variable} to a free port, or {self.instead} to use your own {self.title}."
                )
            self.port = self.asked_port
            return
        last = Record.load(self.home.record(self.name))
        kept = last is not None and processes.port_is_free(last.port)
        self.port = last.port if last is not None and kept else processes.free_port()

    def spawn(self) -> None:
        """Stop what a killed launcher left behind and start the process."""
        self.stop_orphan()
        self.choose_port()
        self.prepare()
        self.launch()

    def launch(self) -> None:
        """Start the process itself and keep its record."""
        try:
            self.process = processes.spawn(
                self.command(),
                log=self.log,
                account=self.home.account,
                environment=self.environment(),
                death_signal=self.stop_signal,
            )
        except OSError as failure:
            raise self.refuse(f"its program does not run ({failure}).") from failure
        Record.of(self.process.pid, marker=str(self.home.path), port=self.port).save(
            self.home.record(self.name)
        )

    def stop_orphan(self) -> None:
        """End the server of an earlier launcher that was killed before it could do so."""
        record = Record.load(self.home.record(self.name))
        if record is not None and record.is_running():
            processes.stop_all({record.pid: self.stop_signal}, seconds=STOP_SECONDS)

    def wait_for_port(self) -> None:
        """Return once the server accepts connections.

        :raises StartRefused: if it dies first or takes longer than START_SECONDS.
        """
        assert self.process is not None
        process = self.process
        answered = processes.wait_until(
            lambda: process.poll() is not None or processes.port_answers(self.port), seconds=START_SECONDS
        )
        if process.poll() is not None:
            raise self.refuse(self.explain_death(process.returncode))
        if not answered:
            raise self.refuse(f"it did not answer within {START_SECONDS} s; see {self.log}.")

    def explain_death(self, returncode: int) -> str:
        """Say why the process ended at once, in a sentence."""
        return f"it ended with status {returncode} ({processes.quote_log(self.log)})."

    def prepare(self) -> None:
        """Lay down whatever must exist before the process starts."""

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the process; none of ours is handed on but the path."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def command(self) -> list[str | Path]:
        raise AssertionError("every server states its command")

    def finish(self) -> None:
        raise AssertionError("every server states when it is ready")
