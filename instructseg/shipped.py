"""Configurations that ship with the package, found by name from any folder.

``nano-tune``, ``nano/tune`` and ``configs/nano/tune.yaml`` name the same file. The end of a name will do while
no other name has it: ``tune-video``.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_HERE = Path(__file__).parent
CONFIGS = next(
    (one for one in (_HERE / "configs", _HERE.parent / "configs") if one.is_dir()), _HERE / "configs"
)
"""Their folder: within an installed package, beside it in a clone."""


def config_names() -> dict[str, Path]:
    """Every shipped run by name, in order; not parts (``base/``), nor runs of a recipe, which needs a clone."""
    files = sorted(file for file in CONFIGS.rglob("*.yaml") if file.parent.name != "base")
    return {
        _plain(file.relative_to(CONFIGS).as_posix().removesuffix(".yaml")): file
        for file in files
        if "\nrecipe:" not in file.read_text(encoding="utf-8")
    }


def find_config(given: str | Path) -> Path:
    """The file of that path, or the shipped one of that name.

    Raises:
        FileNotFoundError: neither; the message gives the closest name.
    """
    path = Path(given)
    if path.is_file():
        return path
    if not path.is_absolute():
        parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
        shipped = CONFIGS.joinpath(*parts)
        if ".." not in parts and shipped.suffix == ".yaml" and shipped.is_file():
            return shipped
        known = config_names()
        name = _plain("/".join(parts).removesuffix(".yaml"))
        ending = [one for one in known if one.endswith(f"-{name}")]
        if name in known or len(ending) == 1:
            return known[name if name in known else ending[0]]
        close = ending or get_close_matches(name, known, 1)
        if close:
            raise FileNotFoundError(f"no configuration file {given}: did you mean {' or '.join(close)}?")
    raise FileNotFoundError(
        f"no configuration file {given}, and none of that name in the package: see 'instructseg config list'"
    )


def _plain(name: str) -> str:
    """One spelling of a name: dashes for slashes and underscores."""
    return name.replace("/", "-").replace("_", "-")
