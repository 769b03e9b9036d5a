"""Entry points: the sandbox as a WSGI app, as a process of its own, and as a thread of a test."""

import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from portal.sandbox import assets_api, faults, history_api, submission_api, wallet_pages
from portal.sandbox.faults import Fault, Faults
from portal.sandbox.httpd import BODY_BYTES_MAX, SandboxServer
from portal.sandbox.ledger import Ledger, LedgerFull
from portal.sandbox.problems import Problem, response
from portal.sandbox.store import alone_with
from portal.sandbox.web_context import EXTENSION, Sandbox, sandbox

_ROOT = Path(__file__).resolve().parents[2]
_NAMES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 413: "payload_too_large"}


def create_sandbox(
    path: Path, *, passphrase: str, close_seconds: float = 1.0, public_url: str | None = None
) -> Flask:
    """Return the sandbox over the SQLite file at `path`, made when missing, with its ledger already closing.

    :param close_seconds: time between two ledgers; tests may go down to 0.05.
    :param public_url: what links begin with; by default the host each request asked for.
    :raises ForeignSandboxFile: when the file belongs to another passphrase.
    """
    app = Flask(__name__, template_folder=str(_ROOT / "templates"), static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    ledger = Ledger(path, passphrase=passphrase, close_seconds=close_seconds)
    app.extensions[EXTENSION] = Sandbox(ledger, Faults(), public_url)
    for blueprint in (history_api.bp, assets_api.bp, submission_api.bp, wallet_pages.bp):
        app.register_blueprint(blueprint)
    app.register_error_handler(Problem, response)
    app.register_error_handler(LedgerFull, lambda _full: response(Problem("stale_history")))
    app.register_error_handler(HTTPException, _http_error)
    app.before_request(_misbehave)
    app.after_request(_finish)
    ledger.start()
    return app


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    name = _NAMES.get(status, "bad_request" if status < 500 else "server_error")
    return response(Problem(name))


def _misbehave() -> Response | None:
    fault: Fault | None = sandbox().faults.pick(request.method, request.path)
    g.fault = fault
    return None if fault is None else faults.answer(fault)


def _finish(answer: Response) -> Response:
    fault: Fault | None = g.get("fault")
    if fault is not None and fault.kind == "timeout":
        answer = faults.time_out(fault, g.get("submitted"))
    if not request.path.startswith(("/wallet", "/sandbox")):
        # Horizon is open to pages of any origin; the wallet and the fault orders are not.
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Access-Control-Allow-Headers"] = (
            "X-Client-Name, X-Client-Version, X-App-Name, X-App-Version"
        )
    answer.headers.setdefault("Cache-Control", "no-cache, no-store, max-age=0")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


@dataclass(slots=True)
class RunningSandbox:
    """A sandbox serving from threads of this process."""

    url: str
    ledger: Ledger
    app: Flask
    _server: SandboxServer
    _thread: threading.Thread

    def stop(self) -> None:
        """Answer what waits, close the ledger, stop serving."""
        self.ledger.stop()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


def _bind(app: Flask, host: str, port: int) -> SandboxServer:
    ledger: Ledger = app.extensions[EXTENSION].ledger
    return SandboxServer((host, port), app, ledger.store.release_thread)


def start_in_thread(
    path: Path,
    *,
    passphrase: str,
    close_seconds: float = 1.0,
    host: str = "127.0.0.1",
    port: int = 0,
    public_url: str | None = None,
) -> RunningSandbox:
    """Serve a sandbox from this process; port 0 takes a free one, which `.url` then names."""
    app = create_sandbox(path, passphrase=passphrase, close_seconds=close_seconds, public_url=public_url)
    ledger: Ledger = app.extensions[EXTENSION].ledger
    try:
        server = _bind(app, host, port)
    except OSError:
        ledger.stop()
        raise
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-http", daemon=True)
    thread.start()
    return RunningSandbox(f"http://{host}:{server.server_address[1]}", ledger, app, server, thread)


def serve(
    path: Path,
    *,
    host: str,
    port: int,
    passphrase: str,
    close_seconds: float = 1.0,
    public_url: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; must be called from the main thread.

    :raises OSError: when the port is taken.
    :raises SandboxFileBusy: when another process closes ledgers into the same file.
    """
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with alone_with(path):
            running = start_in_thread(
                path,
                passphrase=passphrase,
                close_seconds=close_seconds,
                host=host,
                port=port,
                public_url=public_url,
            )
            asked.wait()
            running.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
