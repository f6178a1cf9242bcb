"""A room of learners on a real JupyterHub: `make hub-test`. Runs with the hub's own environment, .hub/venv."""
