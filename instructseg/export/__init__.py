"""Export of parts of a model as ONNX files and ``torch.export`` programs."""

from instructseg.export.onnx_parts import DESCRIPTION, PARTS, ExportedPart, build_parts, export_onnx, trace

__all__ = ["DESCRIPTION", "PARTS", "ExportedPart", "build_parts", "export_onnx", "trace"]
