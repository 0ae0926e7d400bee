"""Files of predictions: formats, writing, and the record of earlier runs."""

from instructseg.results.folder import Inputs, Item, PlannedResult, ResultFolder
from instructseg.results.formats import DEFAULT_FORMATS, FORMATS, Format, ResultInfo, parse_formats
from instructseg.results.saving import save_results
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
    "Format",
    "Inputs",
    "Item",
    "PlannedResult",
    "ResultFolder",
    "ResultInfo",
    "ResultPaths",
    "ResultWriter",
    "check_folder_name",
    "check_free",
    "format_of_file",
    "parse_formats",
    "plan_paths",
    "save_results",
]
