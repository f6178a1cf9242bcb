"""One learner: logs in, opens a notebook, runs its cells. All through the hub's door, as a browser does it."""

import asyncio
import json
import re
import secrets
import time
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

import aiohttp

PATIENCE = 300  # seconds for a server to start, and for a cell


class TroubleError(Exception):
    """Something that must not happen to a learner."""


class Learner:
    """A person at a browser. `wait()` their server, `open()` a notebook, `run()` cells in its kernel."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.url, self.name, self.password = url, name, password
        self.home = f"{url}/user/{name}/"
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.kernel = self.session = ""

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))  # cookies of an address, too
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    # --- the hub -------------------------------------------------------------------------------------------------

    async def arrive(self) -> float:
        """Log in by the form and wait until JupyterLab's page is there. Returns the seconds it took."""
        start = time.monotonic()
        async with self.http.get(f"{self.url}/hub/login?next=%2Fhub%2Fspawn") as page:
            found = re.search(r'name="_xsrf" value="([^"]*)"', await page.text())
        if found:  # who is logged in is led on, and sees no form
            form = {"username": self.name, "password": self.password, "_xsrf": found[1]}
            async with self.http.post(f"{self.url}/hub/login?next=%2Fhub%2Fspawn", data=form) as page:
                if page.status >= 400:
                    raise TroubleError(f"login: {page.status} {page.reason}")
        while time.monotonic() < start + PATIENCE:
            async with self.http.get(f"{self.url}/hub/spawn") as page:
                if page.status >= 400:
                    raise TroubleError(f"start: {page.status} {page.reason}")
                if str(page.url).startswith(self.home):
                    if not page.url.path.endswith("/lab/tree/notebooks/00-start-here.ipynb"):
                        raise TroubleError(f"the course opens at {page.url.path}")
                    return time.monotonic() - start
            await asyncio.sleep(0.2)
        raise TroubleError(f"the server did not start in {PATIENCE} seconds")

    async def leave(self) -> None:
        """Stop the own server by the hub's button, and wait until it is down."""
        await self.close_tab()
        headers = {"X-XSRFToken": self._cookie(f"{self.url}/hub/")}
        address = f"{self.url}/hub/api/users/{self.name}/server"
        async with self.http.delete(address, headers={**headers, "Referer": f"{self.url}/hub/home"}) as answer:
            if answer.status not in (202, 204):
                raise TroubleError(f"stopping the server: {answer.status} {await answer.text()}")
        await self.until_down()

    async def until_down(self) -> None:
        """Wait until the hub says that this learner's server is gone."""
        headers = {"X-XSRFToken": self._cookie(f"{self.url}/hub/"), "Referer": f"{self.url}/hub/home"}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            async with self.http.get(f"{self.url}/hub/api/users/{self.name}", headers=headers) as answer:
                if not (await answer.json()).get("servers"):
                    return
            await asyncio.sleep(0.2)
        raise TroubleError("the server does not stop")

    def _cookie(self, url: str) -> str:
        cookie = self.http.cookie_jar.filter_cookies(aiohttp.client.URL(url)).get("_xsrf")
        return cookie.value if cookie else ""

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the own server; returns its JSON."""
        headers = {"X-XSRFToken": self._cookie(self.home)}
        async with self.http.request(method, f"{self.home}api/{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise TroubleError(f"{method} {path}: {answer.status} {text[:200]}")
            return json.loads(text) if text else None

    async def file(self, path: str) -> Any:
        """Return the content of a file of one's own."""
        return (await self.api("GET", f"contents/{path}?content=1"))["content"]

    # --- a notebook and its kernel ---------------------------------------------------------------------------------

    async def open(self, path: str) -> list[dict[str, Any]]:
        """Open a notebook with a kernel of its own. Returns its cells."""
        notebook = await self.file(path)
        kernel = {"name": "python3"}
        body = {"path": path, "name": path, "type": "notebook", "kernel": kernel}
        self.kernel = (await self.api("POST", "sessions", body))["kernel"]["id"]
        self.session = uuid4().hex
        await self.look()
        return notebook["cells"]

    async def look(self) -> None:
        """Connect to the kernel, as a tab does that is opened."""
        address = f"{self.home}api/kernels/{self.kernel}/channels?session_id={self.session}"
        self.socket = await self.http.ws_connect(address, max_msg_size=0, heartbeat=30)

    async def close_tab(self, *, rudely: bool = False) -> None:
        """Let go of the kernel; `rudely`: the connection breaks without a word."""
        socket, self.socket = self.socket, None
        if socket is None:
            return
        if rudely and (transport := socket._response.connection and socket._response.connection.transport):
            transport.abort()
        with suppress(aiohttp.ClientError, asyncio.TimeoutError):
            await asyncio.wait_for(socket.close(), 5)

    async def send(self, code: str) -> str:
        """Ask the kernel to run code. Returns the request's id."""
        id_ = secrets.token_hex(16)
        header = {"msg_id": id_, "session": self.session, "username": self.name, "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = {
            "header": {**header, "msg_type": "execute_request", "date": ""},
            "parent_header": {},
            "metadata": {},
            "content": {**content, "user_expressions": {}, "stop_on_error": True},
            "buffers": [],
            "channel": "shell",
        }
        await self.socket.send_str(json.dumps(message))
        return id_

    async def hear(self, id_: str, patience: float = PATIENCE, *, begun: bool = False) -> list[dict[str, Any]]:
        """Collect the outputs of a request until it is answered and the kernel idle; or `begun`: until it runs."""
        outputs: list[dict[str, Any]] = []
        reply: dict[str, Any] = {}
        idle = False
        try:
            async with asyncio.timeout(patience):
                while not (reply and idle):
                    message = await self.socket.receive()
                    if message.type is aiohttp.WSMsgType.BINARY or message.type is aiohttp.WSMsgType.TEXT:
                        said = json.loads(message.data)
                    else:
                        raise TroubleError(f"the connection to the kernel ended ({message.type.name})")
                    if said["parent_header"].get("msg_id") != id_:
                        continue
                    kind, content = said["msg_type"], said["content"]
                    if kind == "execute_reply":
                        reply = content
                    if kind == "execute_input" and begun:
                        return []
                    idle |= kind == "status" and content["execution_state"] == "idle"
                    if kind in ("stream", "display_data", "execute_result", "error"):
                        outputs.append({"output_type": kind, **content})
        except TimeoutError:
            raise TroubleError(f"no answer from the kernel in {patience:.0f} seconds") from None
        if reply["status"] == "error" and not any(output["output_type"] == "error" for output in outputs):
            outputs.append({"output_type": "error", **reply})  # JupyterLab's limit on output swallowed it
        return outputs

    async def run(self, code: str, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Run code to its end. Returns its outputs, errors among them."""
        return await self.hear(await self.send(code), patience)


def said(outputs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what outputs say as text: streams joined, text/plain of results, errors by name."""
    words: list[tuple[str, str]] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            text = "".join(output["text"])
            if words and words[-1][0] == output["name"]:
                words[-1] = (output["name"], words[-1][1] + text)
            else:
                words.append((output["name"], text))
        elif kind == "error":
            words.append(("error", f"{output['ename']}: {output['evalue']}"))
        else:
            words.append(("shown", "".join(output["data"].get("text/plain", ""))))
    return words
