"""Parts of a model as ONNX files and ``torch.export`` programs, for runtimes other than this package."""

from instructseg.export.parts import PARTS, Part, build_parts
from instructseg.export.writing import DESCRIPTION, export_onnx

__all__ = ["DESCRIPTION", "PARTS", "Part", "build_parts", "export_onnx"]
