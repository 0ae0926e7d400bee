"""Variants of the paper's ablations, as runs of the bundled model, and their tables.

Every run differs from ``full`` in what its :class:`Variant` says, and in nothing else. A run may stand in
several tables and is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from recipes.nano.config import NanoDataConfig
from recipes.nano.evaluation.drawn_report import REASON_SEG_KINDS, REASON_VOS_KINDS


@dataclass(frozen=True)
class Variant:
    """One kind of run.

    Attributes:
        model: fields of the model's configuration that differ.
        references: beside the key frame of a video; a model without a perceiver has no use for any.
        clip_share: of the batches; ``None`` for that of the stage.
        kinds: ``referring`` or ``reasoning`` instructions alone; ``None`` for all, plain questions too.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    references: int = 4
    clip_share: float | None = None
    kinds: str | None = None

    def chosen(self, kinds: Mapping[str, float]) -> dict[str, float]:
        """The trained ones of ``kinds`` (name -> weight)."""
        reasoning = {*REASON_SEG_KINDS, *REASON_VOS_KINDS}
        if self.kinds is None:
            return dict(kinds)
        if self.kinds == "reasoning":
            return {kind: weight for kind, weight in kinds.items() if kind in reasoning}
        return {kind: weight for kind, weight in kinds.items() if kind not in {*reasoning, "question"}}

    def data(self, data: NanoDataConfig) -> dict[str, Any]:
        """The fields of ``data`` that differ."""
        share = data.clip_share if self.clip_share is None else self.clip_share
        kinds = {"kinds": self.chosen(data.kinds), "clip_kinds": self.chosen(data.clip_kinds)}
        return {"clip_share": share, **kinds}


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "full": Variant(),
        "neither": Variant({"use_ovp": False, "vmtf_mode": "off"}, references=0),
        "ovp": Variant({"vmtf_mode": "off"}),
        "vmtf": Variant({"use_ovp": False}, references=0),
        "references-0": Variant(references=0),
        "references-8": Variant(references=8),
        "global": Variant({"vmtf_mode": "released"}),
        "detailed": Variant({"vmtf_mode": "detailed"}),
        "image": Variant(clip_share=0.0),
        "video": Variant(clip_share=1.0),
        "referring": Variant(kinds="referring"),
        "reasoning": Variant(kinds="reasoning"),
    }
)
"""Name -> run."""

FULL: Mapping[str, Any] = MappingProxyType({"use_ovp": True, "vmtf_mode": "paper"})
"""What the models of all variants have where nothing else is said."""

TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "modules": {
            "neither": "neither",
            "ovp": "OVP",
            "vmtf": "VMTF",
            "full": "OVP and VMTF",
        },
        "references": {
            "references-0": "0 reference frames",
            "full": "4 reference frames",
            "references-8": "8 reference frames",
        },
        "fusion": {
            "global": "global text (`released`)",
            "detailed": "detailed text",
            "full": "both (`paper`)",
        },
        "data": {
            "image": "images",
            "video": "clips",
            "referring": "referring",
            "reasoning": "reasoning",
            "full": "all",
        },
    }
)
"""Name of a table -> its runs in order, with their names in it; Tables 6 to 9 of the paper."""

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "res_ciou": "RES cIoU",
        "res_giou": "RES gIoU",
        "reason_seg": "ReasonSeg gIoU",
        "rvos_appearance": "R-VOS J&F, appearance",
        "rvos_twins": "R-VOS J&F, twins",
        "reason_vos": "ReasonVOS J&F",
    }
)
"""Name of a figure in the results -> its name in the tables."""
