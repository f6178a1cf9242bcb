"""A room: who may come in, and where servers run. Copy this to .hub/room.py, and change it there.

This one is a Linux machine with systemd and without accounts: the hub runs as root, each learner gets an account
that exists only while the server runs, and a folder that stays. README has the other choices.
"""

import os
from pathlib import Path

load_subconfig(str(Path(__file__).with_name("jupyterhub_config.py")))  # noqa: F821  (JupyterHub hands it in)
c = get_config()  # noqa: F821

# One password for the room, eight signs or more, from the environment: a file may lie around.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["ROOM_PASSWORD"]
c.Authenticator.allow_all = True
# A learner's folder is /var/lib/NAME, and systemd would hand over what stands there already.
c.Authenticator.blocked_users = {path.name for path in Path("/var/lib").iterdir() if not path.is_symlink()}

c.JupyterHub.spawner_class = "systemd"
c.SystemdSpawner.dynamic_users = True
c.SystemdSpawner.isolate_tmp = True
