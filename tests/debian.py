"""Debian's packages for tests, unpacked into the user's cache and never installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

MISSING = """There is no {package} for the tests, and Debian's packages could not be unpacked.
Install it (apt-get install {package}), or run where apt-get reaches its package mirror.
{error}"""


def cache_folder() -> Path:
    """Where packages lie, each in a folder NAME-VERSION."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr_ray"


def unpacked(
    package: str,
    *,
    whole: tuple[str, ...] = (),
    finish: Callable[[Path], None] = lambda _: None,
    cache: Path | None = None,
) -> Path:
    """The folder with a package and the libraries that it needs and this machine lacks.

    ``whole`` are beginnings of package names: what it needs of them is unpacked whether or not
    this machine has it. ``finish`` mends the folder, once, before it appears in the cache.
    """
    cache = cache or cache_folder()
    found = sorted(cache.glob(f"{package}-[0-9]*"))
    if found:
        return found[-1]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="unpacking-") as temporary:
        folder, root = Path(temporary), Path(temporary, "root")
        try:
            _download(folder, package, (package, *whole))
            for archive in folder.glob("*.deb"):
                run(folder, "dpkg", "-x", archive.name, "root")
        except (OSError, RuntimeError) as error:
            raise RuntimeError(MISSING.format(package=package, error=error)) from error
        finish(root)
        version = next(folder.glob(f"{package}_*.deb")).name.split("_")[1]
        target = cache / f"{package}-{version}"
        try:
            root.rename(target)
        except OSError:
            if not target.is_dir():  # if it is one, another run was faster
                raise
        return target


def environment(root: Path) -> dict[str, str]:
    """``PATH`` and ``LD_LIBRARY_PATH`` with an unpacked package's folders before the machine's."""
    libraries = [str(folder) for folder in sorted(root.glob("**/lib/*-linux-gnu*"))]
    # Some libraries know their place in a folder below by its absolute path.
    libraries += sorted({str(file.parent) for file in root.glob("**/lib/*-linux-gnu*/*/lib*.so*")})
    programs = [str(root / folder) for folder in ("usr/bin", "usr/sbin")]
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": os.pathsep.join([*programs, path]), "LD_LIBRARY_PATH": ":".join(libraries)}


def _download(folder: Path, package: str, whole: tuple[str, ...]) -> None:
    options = [f"-oDir::Cache={folder}/cache", "-oAPT::Sandbox::User=root", "-oAcquire::Retries=2"]
    (folder / "cache").mkdir()

    def needed(*more: str) -> list[str]:
        every = ("--no-install-recommends", *more, "-s", "install", package)
        listed = run(folder, "apt-get", *options, *every)
        return re.findall(r"^Inst (\S+) \(", listed, re.MULTILINE)  # an upgrade shows two versions

    def download() -> None:
        # As if nothing were installed: these must be whole.
        names = [n for n in needed("-oDir::State::status=/dev/null") if n.startswith(whole)]
        names += [n for n in needed() if n.startswith("lib") and n not in names]
        run(folder, "apt-get", *options, "download", *names, timeout=600)

    try:
        download()
    except RuntimeError:  # apt's lists are empty or old; a folder of our own needs no root
        options.append(f"-oDir::State::lists={folder}/lists")
        (folder / "lists" / "partial").mkdir(parents=True)
        run(folder, "apt-get", *options, "update")
        download()


def run(
    folder: Path, *command: str, env: dict[str, str] | None = None, timeout: float = 120
) -> str:
    """What a command prints; RuntimeError with what it complained of where it fails."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=env or os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        ).stdout
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"{error}\n{getattr(error, 'stderr', '')}") from error


def find(*commands: str) -> Path | None:
    """The first of these commands that this machine has, its links followed."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    for command in commands:
        if found := shutil.which(command, path=path):
            return Path(found).resolve()
    return None
