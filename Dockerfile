# The page in a container; docs/hosting.md says how to build and run it.
FROM python:3.12-slim

# PyTorch's index of builds for the CPU. For an NVIDIA GPU: https://download.pytorch.org/whl/cu128
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY pre-requirements.txt requirements.txt ./
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" -r pre-requirements.txt && \
    pip install --no-cache-dir -r requirements.txt
COPY LICENSE CREDITS.md app.py ./
COPY clip_core clip_core
COPY prompts prompts
COPY ui ui

# Weights outlive the container in the volume, which belongs to the user that writes them.
RUN useradd --create-home --uid 1000 clip && \
    mkdir /weights && \
    chown 1000 /weights
ENV CLIP_CACHE=/weights/clip \
    HF_HOME=/weights/huggingface \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_ANALYTICS_ENABLED=False \
    PYTHONUNBUFFERED=1
VOLUME /weights
USER 1000
EXPOSE 7860

# Answers without the password, too.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'] + '/healthz')"]
CMD ["python", "app.py"]
