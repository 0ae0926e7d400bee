"""``instructseg convert``: checkpoints of other projects, in and out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from instructseg.cli.errors import reported

convert_app = typer.Typer(help="Convert checkpoints.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(help="Folder or Hugging Face repository.")]
Target = Annotated[Path, typer.Argument(help="Target folder.")]
_WRITTEN = re.compile(
    r"[\w-]+\.safetensors(\.index\.json)?|pytorch_model[\w-]*\.bin(\.index\.json)?|(\w*_)?config\.json|"
    r"(\w*_)?tokenizer(_\w*)?\.(json|model|txt)|vocab\.(json|txt)|merges\.txt|special_tokens\w*\.json|"
    r"added_tokens\.json|chat_template\.jinja|README\.md"
)
"""Files of a checkpoint."""

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing target.")]


def check_target(target: Path, overwrite: bool) -> None:
    """Checks that an existing target is a checkpoint and nothing else.

    Raises:
        ValueError: the target holds other files, or is a file or a link.
    """
    if not overwrite or not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise ValueError(f"{target} is no folder: choose another target")
    for path in target.iterdir():
        if path.is_dir() or not _WRITTEN.fullmatch(path.name):
            raise ValueError(f"{target} holds {path.name}, which no conversion wrote: choose another target")


@convert_app.command()
def official(source: Source, target: Target, overwrite: Overwrite = False) -> None:
    """Convert the published InstructSeg to this package's layout."""
    with reported():
        check_target(target, overwrite)
        from instructseg.convert import convert_official

        plan = convert_official(source, target, overwrite)
        for name, reason in sorted(plan.dropped.items()):
            typer.echo(f"not used: {name} ({reason})", err=True)
        typer.echo(f"wrote {target}")


@convert_app.command()
def export(source: Path, target: Target, overwrite: Overwrite = False) -> None:
    """Convert this package's layout to the official one of the released code."""
    with reported():
        check_target(target, overwrite)
        from instructseg.convert import export_official

        export_official(source, target, overwrite)
        typer.echo(f"wrote {target}")


@convert_app.command()
def start(
    mipha: Annotated[str, typer.Argument(help="Mipha-3B: folder or repository.")],
    mask2former: Annotated[Path, typer.Argument(help="Mask2Former file with a Swin backbone.")],
    target: Target,
    siglip: Annotated[
        str | None,
        typer.Option(help="Another SigLIP of the same shape; default: Mipha's own, as released."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of parts without a source.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Join Mipha-3B and Mask2Former into the start of training."""
    with reported():
        check_target(target, overwrite)
        from instructseg.convert.mipha import assemble_training_start, counted

        origins = assemble_training_start(mipha, siglip, mask2former, target, overwrite, seed)
        typer.echo(f"wrote {target}: {counted(origins)}")


@convert_app.command()
def mask2former(source: Path, target: Path, overwrite: Overwrite = False) -> None:
    """Convert the mask branch of a Mask2Former file to one ``.safetensors`` file."""
    with reported():
        if target.suffix != ".safetensors":
            raise ValueError(f"{target}: let the name end in .safetensors")
        if target.exists() and not overwrite:
            raise ValueError(f"{target} exists: choose another name, or add --overwrite")
        if target.exists() and (target.is_dir() or (source.exists() and target.samefile(source))):
            raise ValueError(f"{target} is a folder, or the source: choose another name")
        from safetensors.torch import save_file

        from instructseg.convert import load_mask2former
        from instructseg.files import atomic_path

        weights = load_mask2former(source)
        with atomic_path(target) as temporary:
            save_file({name: value.contiguous() for name, value in weights.state.items()}, temporary)
        typer.echo(f"wrote {target}: {len(weights.state)} tensors, {len(weights.dropped)} left out")
