"""JupyterLab as the course opens it: `vmenter` is found in its terminals and kernels, and no news is asked for."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from awaited import awaited
from hub.room import free_ports
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from vmenter.course import opening

HERE = str(Path(sys.executable).parent)


def test_programs_beside_this_python_come_first_and_each_folder_once():
    for given in ("/usr/bin:/bin", f"/usr/bin:{HERE}:/bin", f"{HERE}:/usr/bin:/bin"):
        assert opening.surroundings({"PATH": given})["PATH"] == f"{HERE}:/usr/bin:/bin"
    assert opening.surroundings({})["PATH"] == os.pathsep.join([HERE, os.defpath.lstrip(":")])


def test_a_learners_own_settings_of_jupyter_stay_and_come_first():
    own = opening.surroundings({"JUPYTER_CONFIG_PATH": "/mine"})["JUPYTER_CONFIG_PATH"]
    assert own == f"/mine{os.pathsep}{opening.SETTINGS}"


def test_terminals_are_no_login_shells_whatever_the_shell():
    for environment, shell in (({"SHELL": "/bin/a shell"}, "/bin/a shell"), ({"SHELL": ""}, None)):
        (option,) = opening.terminals(environment)
        name, _, value = option.partition("=")
        assert name == "--ServerApp.terminado_settings"
        (found,) = json.loads(value.replace("'", '"'))["shell_command"]
        assert found == shell or (shell is None and found.endswith("sh"))


def test_an_option_that_the_learner_gives_stands_in_place_of_ours(tmp_path):
    """JupyterLab refuses to start if an option comes twice."""
    for given in (["--ip=0.0.0.0"], ["--ip", "0.0.0.0"], ["--ServerApp.ip=0.0.0.0"]):
        assert not [option for option in opening._defaults(tmp_path, given) if "127.0.0.1" in option]
    assert "--ServerApp.ip=127.0.0.1" in opening._defaults(tmp_path, ["--port=1", "--ServerApp.ip_x=1"])
    assert not [one for one in opening._defaults(tmp_path, ["--notebook-dir=/x"]) if "root_dir" in one]
    arguments = ["--ip=0.0.0.0", "--ServerApp.terminado_settings={}", "--LabApp.default_url=/lab", "--allow-root"]
    command = [sys.executable, "-m", "jupyterlab", *opening._defaults(tmp_path, arguments), *arguments]
    done = subprocess.run([*command, "--show-config-json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ServerApp"]["ip"] == "0.0.0.0"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab opened by `vmenter lab` without a terminal and without our programs on PATH; its address."""
    folder = tmp_path_factory.mktemp("my lab")
    (port,) = free_ports(1)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "JUPYTER"))}
    path = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != HERE)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vmenter", "lab", "--folder", folder / "own", "--no-browser"),
                *(f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=t"),
            ],
            env={**kept, "PATH": path, "HOME": str(folder), "SHELL": "/bin/bash"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    address = f"127.0.0.1:{port}"
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://{address}/api/status?token=t", timeout=5).close()
            break
        time.sleep(0.1)
    assert process.poll() is None, (folder / "log").read_text()
    yield address
    process.terminate()
    process.wait(30)


def ask(address, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "token t", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


async def typed(address, name, line, wanted):
    """Type a line into a terminal; return what it shows once `wanted` is in it."""
    request = HTTPRequest(f"ws://{address}/terminals/websocket/{name}", headers={"Authorization": "token t"})
    socket = await websocket_connect(request)
    await socket.write_message(json.dumps(["stdin", line + "\r"]))
    shown = ""
    async with asyncio.timeout(60):
        while not re.search(wanted, shown):
            kind, *content = json.loads(await socket.read_message())
            shown += content[0] if kind == "stdout" else ""
    socket.close()
    return shown


def test_a_terminal_of_jupyterlab_finds_vmenter(lab):
    name = json.loads(ask(lab, "api/terminals", {}))["name"]
    shown = awaited(typed(lab, name, "command -v vmenter; vmenter --version; echo en''d", "end"))
    assert f"{HERE}/vmenter" in shown
    assert re.search(r"vmenter \d+\.\d+", shown)


async def printed(address, kernel, code):
    """Run code in a kernel; return what it prints."""
    request = HTTPRequest(f"ws://{address}/api/kernels/{kernel}/channels", headers={"Authorization": "token t"})
    socket = await websocket_connect(request)
    header = {
        "msg_id": "1",
        "session": "s",
        "username": "u",
        "version": "5.3",
        "msg_type": "execute_request",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
    await socket.write_message(json.dumps({**message, "channel": "shell"}))
    text = ""
    async with asyncio.timeout(60):
        while True:
            said = json.loads(await socket.read_message())
            if said["parent_header"].get("msg_id") == "1":
                text += said["content"].get("text", "")
                if said["msg_type"] == "execute_reply":
                    assert said["content"]["status"] == "ok", said
                if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
                    break
    socket.close()
    return text


def test_a_kernel_of_jupyterlab_finds_vmenter(lab):
    kernel = json.loads(ask(lab, "api/kernels", {"name": "python3"}))["id"]
    code = "import shutil, sys; print(shutil.which('vmenter'), sys.executable, sep='\\n')"
    where, python = awaited(printed(lab, kernel, code)).splitlines()
    assert (where, Path(python).parent) == (f"{HERE}/vmenter", Path(HERE))


def test_jupyterlab_does_not_ask_for_news(lab):
    page = ask(lab, "lab")
    config = json.loads(re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
