import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tab.conftest import chromium  # noqa: F401  (a fixture)
from tools import artefacts

from vmenter.course.address import version


@pytest.fixture(scope="session")
def files():
    """What was packed, by kind."""
    found = {kind: artefacts.OUTPUT / name for kind, name in artefacts.names(version()).items()}
    assert all(path.is_file() for path in found.values()), "nothing is packed: make artefacts"
    return found


@pytest.fixture(scope="session")
def unpacked(files, tmp_path_factory):
    """A function: a packed file's content, unpacked in a place with a blank in its name."""
    place = tmp_path_factory.mktemp("a place to unpack")

    def unpack(kind):
        file = files[kind]
        folder = place / file.name.removesuffix(".zip").removesuffix(".tar.gz")
        if not folder.exists():
            shutil.unpack_archive(file, place)
        assert [path.name for path in place.iterdir() if path == folder], "it unpacks into a folder of its name"
        return folder

    return unpack


@pytest.fixture(scope="session")
def installed(files, tmp_path_factory):
    """A function: run a program of an environment in which the wheel was installed; (exit status, what it said).

    The packages that it needs are those of the pins, from the environment that runs the tests; no network is used.
    """
    place = tmp_path_factory.mktemp("elsewhere")
    venv = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, files["wheel"]], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    (site / "needed.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n"
    )  # names no checkout: its .pth is not read

    def run(program, *arguments):
        done = subprocess.run(
            [venv / "bin" / program, *arguments],
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "HOME": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run
