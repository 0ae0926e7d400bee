"""Files of predictions: formats, writing, and the record of earlier runs."""

from instructseg.results.folder import Inputs, Item, PlannedResult, ResultFolder
from instructseg.results.formats import DEFAULT_FORMATS, FORMATS, parse_formats
from instructseg.results.result_format import Format, ResultInfo, frame_stems
from instructseg.results.saving import DrawingOptions, SaveOptions, save_results
from instructseg.results.writer import (
    ResultPaths,
    ResultWriter,
    check_folder_name,
    check_free,
    format_of_file,
    plan_paths,
)

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "DrawingOptions",
    "Format",
    "Inputs",
    "Item",
    "PlannedResult",
    "ResultFolder",
    "ResultInfo",
    "ResultPaths",
    "ResultWriter",
    "SaveOptions",
    "check_folder_name",
    "check_free",
    "format_of_file",
    "frame_stems",
    "parse_formats",
    "plan_paths",
    "save_results",
]
