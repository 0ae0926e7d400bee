# The HTTP service on an NVIDIA GPU. From the root of the repository:
#   docker build -f docker/cuda.Dockerfile -t instructseg:cuda .
#   docker run --rm --gpus all -p 127.0.0.1:8000:8000 -v models:/home/user/models instructseg:cuda \
#     serve --host 0.0.0.0 --model weic22/InstructSeg --dtype bfloat16
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY configs configs
COPY instructseg instructseg
RUN pip install --no-cache-dir build==1.3.0 && python -m build --wheel --outdir /wheels

FROM python:3.12-slim-bookworm
# the wheel of torch brings its CUDA libraries; the host brings the driver and the NVIDIA container toolkit
ENV PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE HF_HOME=/home/user/models
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir torch==2.13.0 \
    && pip install --no-cache-dir "$(ls /wheels/*.whl)[app,serve]" \
    && useradd --create-home --uid 1000 user && mkdir -p /home/user/models && chown user /home/user/models
# by number: hosts need not know the name
USER 1000
WORKDIR /home/user
VOLUME /home/user/models
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["instructseg"]
CMD ["serve", "--host", "0.0.0.0"]
