# The course in a container, with no rights but its own:
#   docker build -t vmenter-lab .
#   docker run --rm -p 127.0.0.1:8888:8888 -v vmenter-lab:/home/learner vmenter-lab
# For a room under JupyterHub's KubeSpawner or DockerSpawner: docker build --target room -t vmenter-room .
FROM python:3.13-slim-bookworm AS course
ENV PATH="/opt/vmenter-lab/.venv/bin:$PATH"
RUN useradd --create-home --uid 1000 learner
WORKDIR /opt/vmenter-lab
COPY . .
RUN python -m venv .venv && .venv/bin/python -m pip install --no-cache-dir -r requirements.txt
USER 1000:1000
WORKDIR /home/learner
VOLUME /home/learner
EXPOSE 8888
CMD ["vmenter", "lab", "--no-browser", "--ip=0.0.0.0", "--port=8888"]

FROM course AS room
USER 0
WORKDIR /opt/vmenter-lab
RUN .venv/bin/python -m pip install --no-cache-dir -r .hub/requirements.txt
USER 1000:1000
WORKDIR /home/learner
CMD ["/opt/vmenter-lab/.venv/bin/python", "/opt/vmenter-lab/.hub/learner.py"]

FROM course
