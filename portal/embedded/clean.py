"""`make clean`: drop the data of `make run`, wherever it was put; the standard library is all this uses."""

import fcntl
import os
import shutil
import sys
from pathlib import Path


def main() -> int:
    var = Path(os.environ.get("VAR_DIR") or "var").resolve()
    if not var.exists():
        return 0
    # Deleting the wrong folder cannot be undone, so it must look like one of ours.
    if not (var / "run.lock").exists():
        print(f"clean: {var} was not made by `make run`; nothing was deleted.", file=sys.stderr)
        return 1
    with open(var / "run.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"clean: `make run` is running on {var}; stop it first.", file=sys.stderr)
            return 1
        location = var / "services" / "LOCATION"
        if location.exists():
            shutil.rmtree(location.read_text().strip(), ignore_errors=True)
        shutil.rmtree(var)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
