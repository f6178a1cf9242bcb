"""Setting up: whole or not at all, in a place with a blank in its name, without a network, and beside what is there.

A checkout is made here with packages of a few lines, real wheels in a folder; .ci/setup itself does the rest.
"""

import base64
import csv
import fcntl
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from places import ROOT

PIECES = ("first==1.0", "packaging==" + metadata.version("packaging"))


def pack(folder, name, version, files):
    """Put a wheel of these files (path → bytes) into a folder."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    record = io.StringIO()
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        csv.writer(record, lineterminator="\n").writerow([path, f"sha256={digest}", len(content)])
    record.write(f"{info}/RECORD,,\n")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in {**files, f"{info}/RECORD": record.getvalue().encode()}.items():
            wheel.writestr(path, content)


def program(name, version):
    return {f"{name}.py": f"import sys\ndef main(): print({name!r}, {version!r}, sys.prefix)\n".encode()}


class Checkout:
    """A checkout of a small course, and what one does in it."""

    def __init__(self, root):
        self.root = root
        shutil.copytree(ROOT / ".ci", root / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "lib" / "vmenter").mkdir(parents=True)
        (root / "lib" / "vmenter" / "__init__.py").touch()
        shutil.copy(ROOT / "lib" / "pyproject.toml", root / "lib")
        for version in ("1.0", "2.0"):
            pack(root / "wheels", "first", version, program("first", version))
        pack(root / "wheels", "second", "1.0", program("second", "1.0"))
        files = {
            str(file): file.read_bytes()
            for file in (path.locate() for path in metadata.files("packaging"))
            if file.suffix == ".py"
        }
        base = metadata.distribution("packaging").locate_file("")
        files = {str(Path(path).relative_to(base)): content for path, content in files.items()}
        pack(root / "wheels", "packaging", metadata.version("packaging"), files)
        self.pin(*PIECES)
        (root / "more.txt").write_text("second==1.0\n")
        self.venv = root / ".venv"

    def pin(self, *pins):
        (self.root / "requirements.txt").write_text("# pinned\n" + "\n".join(pins) + "\n")

    def start(self, *pins, where=".venv", **more):
        """Start what `make setup` starts; wheels are named as INSTRUCTOR says, by a path without a blank."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))},
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "wheels",
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(self.root / "lib"),
            **more,
        }
        return subprocess.Popen(
            ["sh", ".ci/setup", where, "requirements.txt", *pins],
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # A shell that starts these tests in the background lets them ignore this signal.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (no threads here)
        )

    def setup(self, *pins, **more):
        """Do it: (exit status, what was said)."""
        process = self.start(*pins, **more)
        out, error = process.communicate()
        return process.returncode, out + error

    def says(self, name="first"):
        """Run an installed program, which compiles nothing for good: what it prints."""
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [self.venv / "bin" / name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def mark(self):
        """Return what tells this environment from one that took its place."""
        return self.venv.stat().st_ino

    def beside(self):
        return sorted(path.name for path in self.root.glob(".venv*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkout that was set up once; (checkout, what was said)."""
    checkout = Checkout(tmp_path_factory.mktemp("a place") / "my course")
    status, said = checkout.setup()
    assert status == 0, said
    return checkout, said


@pytest.fixture
def checkout(made):
    """The same, as it was: with the first pins, and ready."""
    checkout, _ = made
    before = (checkout.venv / "ready").read_text()
    yield checkout
    (checkout.venv / "ready").write_text(before)
    checkout.pin(*PIECES)


def test_it_says_what_it_does_and_that_it_is_done(made):
    _, said = made
    lines = said.splitlines()
    assert lines[0].startswith("Setting up .venv")
    assert lines[1].startswith("  making an empty environment")
    assert lines[-1].startswith("  done: .venv (")


def test_programs_stand_on_the_python_of_the_place_they_are_in(checkout):
    assert checkout.says() == f"first 1.0 {checkout.venv}\n"
    texts = [
        path for path in [checkout.venv / "pyvenv.cfg", *checkout.venv.glob("bin/*")] if not path.is_symlink()
    ]
    assert len(texts) > 5
    assert not [path for path in texts if b".venv.new" in path.read_bytes()]
    assert f'VIRTUAL_ENV="{checkout.venv}"' in (checkout.venv / "bin" / "activate").read_text().replace("'", '"')


def test_ones_own_has_compiled_what_the_course_begins_with_and_a_hubs_has_all(checkout):
    assert not list(checkout.venv.rglob("first.*.pyc"))
    try:
        assert checkout.setup(where="hub/venv")[0] == 0
        assert list(checkout.root.glob("hub/venv/**/first.*.pyc"))
    finally:
        shutil.rmtree(checkout.root / "hub", ignore_errors=True)


def test_what_the_course_begins_with_is_there_and_is_compiled(tmp_path):
    spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    assert not [name for name in environment.BEGINS if importlib.util.find_spec(name) is None]
    (tmp_path / "begun.py").write_text("")
    command = [sys.executable, "-c", environment.BEGIN_WITH, "nowhere", "begun"]
    subprocess.run(command, env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}, check=True)
    assert list(tmp_path.rglob("begun.*.pyc"))


def test_another_python_that_is_named_is_taken_even_one_of_the_same_version(checkout):
    mark, python = checkout.mark(), checkout.venv / "bin" / "python"
    assert checkout.setup() == (0, ""), "the same one"
    other = checkout.root / "another" / "python"
    other.parent.mkdir()
    shutil.copy(Path(sys.executable).resolve(), other)
    python.unlink()
    python.symlink_to(other)
    status, said = checkout.setup()
    assert (status, said.splitlines()[0].startswith("Setting up .venv")) == (0, True)
    assert checkout.mark() != mark
    assert python.resolve() != other


def test_a_second_time_it_does_and_says_nothing(checkout):
    mark = checkout.mark()
    assert checkout.setup(PIP_FIND_LINKS="nowhere") == (0, "")
    assert checkout.mark() == mark
    assert checkout.beside() == [".venv"]


def test_more_pins_are_added_to_what_is_there(checkout):
    mark = checkout.mark()
    status, said = checkout.setup("more.txt")
    assert status == 0
    assert said.startswith("Adding the packages of more.txt to .venv")
    assert (checkout.mark(), checkout.says("second")) == (mark, f"second 1.0 {checkout.venv}\n")
    assert checkout.setup("more.txt", PIP_FIND_LINKS="nowhere") == (0, "")


def test_an_environment_made_by_hand_is_used_and_never_replaced(checkout):
    mark = checkout.mark()
    (checkout.venv / "ready").unlink()
    try:
        assert checkout.setup(PIP_FIND_LINKS="nowhere") == (0, "")
        checkout.pin("first==2.0", *PIECES[1:])
        status, said = checkout.setup()
        assert status == 0
        assert "made by hand, and is kept. It lacks first==2.0 (there is 1.0); running" in said
        assert ".venv/bin/python -m pip install -r requirements.txt" in said
        assert checkout.says().startswith("first 2.0")
        checkout.pin(*PIECES)
        assert checkout.setup()[0] == 0
        assert checkout.says().startswith("first 1.0")
        status, said = checkout.setup(PYTHONPATH="")
        assert status == 0  # pip has nothing to do; what brings vmenter is a line that these pins do not have
        assert "It lacks vmenter of this checkout" in said
        assert not (checkout.venv / "ready").exists()
    finally:
        (checkout.venv / "ready").touch()  # the fixture writes it anew
    assert checkout.mark() == mark


def test_one_made_by_hand_that_cannot_be_used_is_left_alone(tmp_path):
    checkout = Checkout(tmp_path / "other")
    (checkout.venv / "mine").mkdir(parents=True)
    status, said = checkout.setup()
    assert status == 1
    assert ".venv was made by hand, so it is left alone; but it has no Python that runs" in said
    assert checkout.beside() == [".venv"]
    assert (checkout.venv / "mine").is_dir()


def test_what_was_interrupted_between_the_two_environments_is_brought_to_an_end(checkout):
    mark = checkout.mark()
    for name in (".venv.new", ".venv.old"):
        checkout.venv.rename(checkout.root / name)
        assert checkout.setup(PIP_FIND_LINKS="nowhere") == (0, "")
        assert (checkout.beside(), checkout.mark()) == ([".venv"], mark)


def test_a_half_made_one_is_not_taken_for_whole(checkout):
    mark = checkout.mark()
    checkout.venv.rename(checkout.root / ".venv.old")
    (checkout.root / ".venv.new" / "bin").mkdir(parents=True)
    assert checkout.setup(PIP_FIND_LINKS="nowhere") == (0, "")
    assert checkout.mark() == mark
    shutil.rmtree(checkout.root / ".venv.new")


def test_two_at_once_wait_for_each_other(checkout):
    with (checkout.root / ".ci" / "environment.py").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = checkout.start()
        assert process.stdout.readline().startswith("Waiting for another make")
        assert process.poll() is None
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert process.communicate() == ("", "")
        assert process.returncode == 0


def test_what_fails_leaves_the_old_one_and_says_why(checkout):
    mark = checkout.mark()
    checkout.pin("first==3.0")
    status, said = checkout.setup()
    assert status == 1
    assert "pip could not install requirements.txt" in said
    assert "No matching distribution found for first==3.0" in said
    assert "Traceback" not in said
    assert (checkout.beside(), checkout.mark()) == ([".venv"], mark)
    assert checkout.says() == f"first 1.0 {checkout.venv}\n"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_interrupted_leaves_the_old_one(checkout, by):
    mark = checkout.mark()
    checkout.pin("first==2.0", *PIECES[1:])
    process = checkout.start()
    end = time.monotonic() + 60
    while not (checkout.root / ".venv.new" / "pyvenv.cfg").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, by)
    _, said = process.communicate()
    assert process.returncode == (-signal.SIGKILL if by == signal.SIGKILL else 130)
    assert "Traceback" not in said
    assert (checkout.mark(), checkout.says()) == (mark, f"first 1.0 {checkout.venv}\n")
    checkout.pin(*PIECES)
    assert checkout.setup(PIP_FIND_LINKS="nowhere") == (0, "")
    shutil.rmtree(checkout.root / ".venv.new", ignore_errors=True)


def test_new_pins_are_a_new_environment_and_nothing_of_the_old_is_left(made):
    """The last one, as it changes what the others share."""
    checkout, _ = made
    mark = checkout.mark()
    (checkout.root / ".venv.new").mkdir()  # left by one that was killed
    checkout.pin("first==2.0", *PIECES[1:])
    status, said = checkout.setup("more.txt")
    assert status == 0, said
    assert checkout.mark() != mark
    assert checkout.says() == f"first 2.0 {checkout.venv}\n"
    assert checkout.beside() == [".venv"]
    assert set(json.loads((checkout.venv / "ready").read_text())) == {"python", "requirements.txt", "more.txt"}
