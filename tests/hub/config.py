"""The room of the test: the recipe as it is, one password for all, every server a process of the tester's."""

import os

c = get_config()  # noqa: F821
load_subconfig(os.environ["ROOM_RECIPE"])  # noqa: F821

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["ROOM_PASSWORD"]
c.Authenticator.allow_all = True

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = os.environ["ROOM_HOMES"] + "/{username}"
c.Spawner.cmd = c.Spawner.cmd[:2]  # all of the tester's programs would count as one learner's processes
c.Spawner.environment = {"TMPDIR": os.environ["ROOM_HOMES"]}
if os.getuid() == 0:
    c.Spawner.args += ["--allow-root"]

front, hub, proxy = os.environ["ROOM_PORTS"].split(",")
c.JupyterHub.bind_url = f"http://127.0.0.1:{front}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy}"
c.JupyterHub.log_level = "WARN"

# A second culler, impatient, with the very rights that the recipe gives to the first.
c.JupyterHub.services += [{"name": "closing-time", "api_token": os.environ["ROOM_TOKEN"]}]
for role in c.JupyterHub.load_roles:
    role["services"] += ["closing-time"]
