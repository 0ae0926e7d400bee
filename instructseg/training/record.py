"""Settings recorded in the folder of a run, compared when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from instructseg.config import RunConfig
from instructseg.distributed import world_size
from instructseg.files import parse_json, read_json, write_json_atomic
from instructseg.log import get_logger

logger = get_logger(__name__)

RECORD = "settings.json"
"""Settings of all stages in order, and the number of processes."""

_HARMLESS_OF_TRAIN = (
    *("max_steps", "max_minutes", "workers", "log_every", "eval_every", "save_every", "keep_checkpoints"),
    *("best", "best_mode", "patience", "final", "start_share", "max_loss_ratio", "trackers", "project"),
    *("sharding", "compile", "gradient_checkpointing"),
)
_HARMLESS = {"check", "data.val", "data.val_samples", *(f"train.{name}" for name in _HARMLESS_OF_TRAIN)}
"""Settings that may change in a resumed run: they do not change what a step learns."""


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Returns the settings to record."""
    stages: dict[str, Any] = {
        name: parse_json(json.dumps(asdict(stage), default=str), RECORD)
        for name, stage in config.plan().items()
    }
    for stage in stages.values():
        for key in config.OF_THE_RUN | {"stages"}:
            stage.pop(key)
    return {"processes": world_size(), "stages": stages}


def compare_record(config: RunConfig) -> None:
    """Compares a resumed run with its recorded settings, and logs harmless changes.

    Stages that have not begun may change. A folder without a record, of an earlier version, is accepted.

    Raises:
        ValueError: a setting differs that changes what is learned, and ``allow_changes`` is false; names it
            with both values.
    """
    path = config.output_dir / RECORD
    if not path.is_file():
        return
    kept, now = read_json(path), settings_of(config)
    if not isinstance(kept, dict) or not isinstance(kept.get("stages"), dict):
        raise ValueError(f"{path} is no record of settings: delete it to resume without a comparison")
    begun = [name for name in kept["stages"] if _has_begun(config.output_dir / name)]
    changes = list(_stage_changes(begun, kept["stages"], now["stages"], tuple(config.FREE)))
    if kept.get("processes") != now["processes"]:
        logger.info("%s processes, before %s", now["processes"], kept.get("processes"))
    for key, _, old, new in (change for change in changes if change[1]):
        logger.info("%s is now %s, it was %s", key, new, old)
    serious = [f"{key} was {old} and is {new}" for key, harmless, old, new in changes if not harmless]
    if not serious:
        return
    shown = "; ".join(serious[:5]) + (f"; and {len(serious) - 5} more" if len(serious) > 5 else "")
    if not config.allow_changes:
        raise ValueError(
            f"{config.output_dir} began with other settings: {shown}; set them back, choose another "
            "output_dir, or add allow_changes=true to resume all the same"
        )
    logger.warning("resuming with other settings: %s", shown)


def write_record(config: RunConfig) -> None:
    """Writes the current settings."""
    write_json_atomic(config.output_dir / RECORD, settings_of(config), indent=1)


def _has_begun(folder: Path) -> bool:
    return any((folder / "final").glob("*")) or any(folder.glob("checkpoint-*"))


def _stage_changes(
    begun: list[str], kept: Mapping[str, Any], now: Mapping[str, Any], free: tuple[str, ...]
) -> Iterator[tuple[str, bool, str, str]]:
    """Yields key, harmlessness, old and new value of each change in stages that have begun."""
    if begun != list(now)[: len(begun)]:
        yield "stages", False, ", ".join(begun), ", ".join(now)
        return
    for name in begun:
        if not isinstance(kept[name], dict):
            yield f"stages.{name}", False, _shown(kept[name]), "a mapping"
            continue
        for key, old, new in _differences(kept[name], now[name], "", free):
            harmless = any(key == one or key.startswith(f"{one}.") for one in _HARMLESS)
            yield (key if len(now) == 1 else f"stages.{name}.{key}"), harmless, _shown(old), _shown(new)


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str, free: tuple[str, ...]
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        if (name in old) != (name in new) and not prefix.startswith(free):
            continue  # a setting unknown to another version of the package
        mine, theirs = old.get(name), new.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            yield from _differences(mine, theirs, f"{prefix}{name}.", free)
        elif mine != theirs:
            yield f"{prefix}{name}", mine, theirs


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
