"""The folder where embedded servers keep data, secrets, logs and the records of their processes."""

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded.processes import Account, StartRefused

# Root's servers run as an unprivileged account, which cannot enter a checkout below /root. What it must
# reach is then kept here: only root may create it, so nobody else can lay a trap at a known path.
ROOT_STORE = Path("/var/lib/tagih-embedded")


@dataclass
class Home:
    """One set of servers: `path` holds a folder for each, beside `secrets.json` (0600)."""

    path: Path
    account: Account
    _secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, directory: Path) -> "Home":
        """Create or reopen the home at `directory`, or where the servers' account can reach it."""
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        path = directory
        if os.geteuid() == 0 and not others_may_enter(directory):
            path = _root_folder("home-" + _digest(str(directory)))
            (directory / "LOCATION").write_text(f"{path}\n")
        marker = path / "postgres"
        home = cls(path=path, account=Account.for_path(marker))
        # Other accounts may pass through to their own folder and list nothing.
        path.chmod(0o700 if home.account.uid is None else 0o711)
        home._load()
        return home

    def folder(self, name: str) -> Path:
        """Return the data folder of one server, owned by the servers' account alone."""
        folder = self.path / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self.account.give(folder)
        elif self.account.uid is None and folder.stat().st_uid != os.geteuid():
            raise StartRefused(
                f"The data in {folder} belongs to another user: start as that user or as root, "
                "or set VAR_DIR to a folder of your own."
            )
        return folder

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def record(self, name: str) -> Path:
        return self.path / f"{name}.process.json"

    def secret(self, name: str) -> str:
        """Return the secret of this name, made at first use and kept."""
        if name not in self._secrets:
            self._secrets[name] = secrets.token_urlsafe(24)
            write_private(self.path / "secrets.json", json.dumps(self._secrets, indent=1))
        return self._secrets[name]

    def private_file(self, name: str, text: str) -> Path:
        """Write a 0600 file that the servers' account can read."""
        path = self.path / name
        write_private(path, text)
        self.account.give(path)
        return path

    def remove(self) -> None:
        """Delete everything; the servers must have stopped."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _load(self) -> None:
        kept = self.path / "secrets.json"
        if kept.exists():
            self._secrets = json.loads(kept.read_text())
        elif (self.path / "postgres" / "PG_VERSION").exists():
            raise StartRefused(
                f"{kept} is missing, so nobody can sign in to the data beside it: "
                "put it back, or start over with `make clean`."
            )


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner alone from its first byte on."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def package_folder(name: str) -> Path:
    """Return where an installed package lies, without running it: its import may look at the machine.

    :raises StartRefused: if it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise StartRefused(f"The package {name} is not installed; `make run` and `make test` do it.")
    return Path(next(iter(found.submodule_search_locations)))


def others_may_enter(path: Path) -> bool:
    """Tell whether an unprivileged account may pass through every folder down to `path`."""
    path = path.resolve()
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    return all(folder.stat().st_mode & 0o001 for folder in folders)


def reachable_copy(package: Path, beside: Path | None = None) -> Path:
    """Return `package`, or a twin of it that the servers' account can enter.

    The twin keeps the layout of site-packages, because the binaries find the libraries `beside` them by
    relative paths. Files are hard-linked where the file system allows, so it costs no space.
    """
    if os.geteuid() != 0 or others_may_enter(package):
        return package
    stamp = package.stat()
    twin = _root_folder("bin-" + _digest(f"{package}:{stamp.st_ino}:{stamp.st_mtime_ns}"))
    for source in [package, *([beside] if beside is not None else [])]:
        target = twin / source.name
        if not target.exists():
            partial = twin / f"{source.name}.partial-{os.getpid()}"
            shutil.copytree(source, partial, symlinks=True, copy_function=_link_or_copy)
            partial.replace(target)
    return twin / package.name


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _root_folder(name: str) -> Path:
    folder = ROOT_STORE / name
    for each in (ROOT_STORE, folder):
        each.mkdir(mode=0o711, parents=True, exist_ok=True)
        each.chmod(0o711)
    return folder


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
