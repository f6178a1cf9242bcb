"""What .hub says holds: the recipe is safe when left alone, and what its README tells to write, JupyterHub knows."""

import os
import re
import tempfile
from pathlib import Path

from jupyterhub import auth, spawner
from jupyterhub.app import JupyterHub
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.proxy import ConfigurableHTTPProxy
from systemdspawner import SystemdSpawner
from traitlets.config import Config

from hub.room import ROOT

HUB = ROOT / ".hub"
RECIPE = 'load_subconfig(str(Path(__file__).with_name("jupyterhub_config.py")))'  # what a room's file begins with
ELSEWHERE = {"DockerSpawner"}  # a package that the hub here does without; what is set of it is not looked at
KNOWN = (
    JupyterHub,
    ConfigurableHTTPProxy,
    auth.Authenticator,
    auth.LocalAuthenticator,
    SharedPasswordAuthenticator,
    spawner.Spawner,
    SystemdSpawner,
)


def taken() -> set[str]:
    """Return names of folders in /var/lib that are the system's: systemd gives a learner the folder of the same name."""
    return {name for name in ("apt", "dpkg", "private", "systemd") if Path("/var/lib", name).is_dir()}


def loaded(text: str, folder: Path) -> Config:
    """Return the configuration that a room's file makes, as the hub reads it."""
    for name in ("jupyterhub_config.py", "node_modules"):
        if not (folder / name).exists():
            (folder / name).symlink_to(HUB / name)
    (folder / "room.py").write_text(text, encoding="utf-8")
    app = JupyterHub()
    app.load_config_file(str(folder / "room.py"))
    return app.config


def mistakes() -> list[str]:
    """Return what is wrong with the recipe or with a choice that the README offers."""
    readme = (HUB / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    choices = [text if RECIPE in text else f"from pathlib import Path\n{RECIPE}\n{text}" for text in shown]
    names = {kind.__name__: kind for kind in KNOWN}
    rooms = sum(RECIPE in text for text in shown)
    found = [] if rooms == 2 else [f".hub/README.md shows {rooms} rooms, not 2"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(VMENTER_HUB_STATE=folder, ROOM_PASSWORD="long enough")
        alone = (HUB / "jupyterhub_config.py").read_text(encoding="utf-8")
        example = (HUB / "examples" / "room.py").read_text(encoding="utf-8")
        for text in (alone, example, *choices):
            config = loaded(text, Path(folder))
            for section, settings in config.items():
                if section in ELSEWHERE:
                    continue
                kind = names.get(section)
                unknown = set(settings) - set(kind.class_trait_names(config=True)) if kind else {section}
                found += [f"JupyterHub knows no {section}.{name}" for name in unknown]
            hub = config.JupyterHub
            if {hub.get("authenticator_class"), hub.get("spawner_class")} & {"dummy", "simple"}:
                found.append("a recipe offers a test's authenticator or spawner")
            if text is alone and ("authenticator_class" in hub or config.Authenticator):
                found.append("the recipe alone lets somebody in")
            if hub.get("spawner_class") == "systemd" and not taken() <= set(
                config.Authenticator.get("blocked_users", ())
            ):
                found.append("a learner of systemd's may have the name of a folder in /var/lib")
            if not str(hub.get("bind_url")).startswith("http://127.0.0.1:"):
                found.append(f"the hub listens on {hub.bind_url}")
    return found
