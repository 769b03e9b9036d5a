"""`python -m portal.embedded.sandbox FILE PORT PASSPHRASE`: the sandbox network in a process of its own.

`flask --app wsgi sandbox` serves the same, but loads the whole portal first.
"""

import sys
from pathlib import Path

from portal.sandbox.server import serve


def main() -> None:
    file, port, passphrase = sys.argv[1:]
    serve(Path(file), host="127.0.0.1", port=int(port), passphrase=passphrase)


if __name__ == "__main__":
    main()
