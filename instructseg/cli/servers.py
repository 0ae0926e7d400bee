"""``instructseg serve`` and ``instructseg app``: the HTTP service and the web page."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from importlib import util
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.cli.errors import reported
from instructseg.hub import bundled
from instructseg.jobs import checks

if TYPE_CHECKING:
    from instructseg.serve.worker import Predictors

MODEL_HELP = "mini or nano (bundled), a folder, or a hub repository, also of another system; default: mini."
ModelOption = Annotated[str | None, typer.Option("--model", "-m", help=MODEL_HELP)]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help=f"{MODEL_HELP} Repeated: a list to choose from."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps; default: the best available.")
]
DtypeOption = Annotated[str | None, typer.Option("--dtype", help="float32, bfloat16, float16, or auto.")]
QuantizeOption = Annotated[
    str | None, typer.Option("--quantize", help="int8 or int4 weights for the language model.")
]
HostOption = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.")]


@dataclass(frozen=True)
class ModelChoice:
    """The model of a server.

    Attributes:
        name: folder or hub repository; ``None`` for the bundled ``mini``.
        device, dtype, quantize: as of :func:`instructseg.load`.
    """

    name: str | None = None
    device: str | None = None
    dtype: str | None = None
    quantize: str | None = None

    def __post_init__(self) -> None:
        checks.check_device(self.device)
        checks.check_dtype(self.dtype)
        checks.check_quantization(self.quantize)

    @property
    def shown(self) -> str:
        """The name for clients."""
        return bundled(self.name) or str(self.name)

    def check(self) -> None:
        """Refuses a name that is no model's, before a server starts that would never have one.

        Raises:
            FileNotFoundError, ValueError: as of :func:`instructseg.loading.find_system`.
        """
        from instructseg.loading import find_system

        find_system(self.name)

    def load(self) -> Predictors:
        """Predictors for images and, if the system has them, videos, of the same weights."""
        from instructseg.loading import load_both

        return load_both(self.name, device=self.device, dtype=self.dtype, quantize=self.quantize)


def serve_command(
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    quantize: QuantizeOption = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="INSTRUCTSEG_TOKEN", help="Token that requests must bear."),
    ] = None,
    max_upload: Annotated[int, typer.Option("--max-upload", min=1, help="Largest request, in MB.")] = 200,
) -> None:
    """Answer HTTP requests: images and videos in, masks out; the page /docs describes them.

    instructseg serve --port 8000
    """
    with reported():
        choice = ModelChoice(model, device, dtype, quantize)
        if token is not None and not token.strip():
            raise ValueError("the token is empty: give one, or leave --token and INSTRUCTSEG_TOKEN out")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("a token has ASCII letters, digits and signs alone")
        try:
            import uvicorn

            from instructseg.serve.service import create_service
        except ImportError as error:
            raise ValueError(
                "the service needs extra packages: pip install fastapi uvicorn python-multipart"
            ) from error
        from instructseg.log import setup_logging
        from instructseg.serve.limits import Limits

        choice.check()
        setup_logging()
        service = create_service(choice.shown, choice.load, Limits(upload=max_upload * 10**6), token)
        uvicorn.run(service, host=host, port=port, log_level="info", timeout_graceful_shutdown=10)


def app_command(
    model: ModelsOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    quantize: QuantizeOption = None,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 7860,
    max_upload: Annotated[int, typer.Option("--max-upload", min=1, help="Largest upload, in MB.")] = 200,
) -> None:
    """Open the web page: an image or a video, instructions, masks. Also a server for assistants (MCP).

    instructseg app --model mini --model nano
    """
    with reported():
        names: list[str | None] = [*model] if model else [None]
        choices = [ModelChoice(name, device, dtype, quantize) for name in names]
        if util.find_spec("gradio") is None:
            raise ValueError("the page needs an extra package: pip install 'gradio[mcp]'")
        from instructseg.serve.web_page import launch_page

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the files of the page are deleted
        for choice in choices:
            choice.check()
        first = choices[0].load()
        typer.echo(f"the page is at http://{host}:{port}; Ctrl-C ends it")
        loads = {choice.shown: choice.load for choice in choices}
        launch_page({**loads, choices[0].shown: lambda: first}, host, port, max_upload * 10**6)
