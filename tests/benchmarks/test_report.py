"""Logs that survive being cut off, and the table beside the paper."""

from pathlib import Path

import pytest

from instructseg.benchmarks.report import TABLE_HEADER, SampleLog, markdown_rows, read_samples
from instructseg.data.catalog import evaluations, paper_figures


def test_a_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "run" / "samples.jsonl"
    with SampleLog(path) as log:
        log.append({"name": "a", "iou": 0.5})
        log.append({"name": "dé", "iou": 0.25, "answer": "naïve\nline"})
    with SampleLog(path) as log:
        assert "a" in log and "b" not in log and len(log) == 2
        log.append({"name": "b", "iou": 1})
        assert [record["name"] for record in log] == ["a", "dé", "b"]
        with pytest.raises(ValueError, match="has a record of sample 'b' already"):
            log.append({"name": "b", "iou": 0})
    assert read_samples(path)["dé"] == {"name": "dé", "iou": 0.25, "answer": "naïve\nline"}


def test_a_record_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.jsonl")
    log.append({"name": "a", "iou": 0.5})
    assert list(read_samples(tmp_path / "samples.jsonl")) == ["a"]
    log.close()


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "samples.jsonl"
    with SampleLog(path) as log:
        log.append({"name": "a", "iou": 0.5})
        log.append({"name": "b", "iou": 0.25})
    path.write_bytes(path.read_bytes()[:-cut])
    with SampleLog(path) as log:
        assert "b" not in log and "a" in log
        log.append({"name": "b", "iou": 0.75})
    assert {name: record["iou"] for name, record in read_samples(path).items()} == {"a": 0.5, "b": 0.75}


def test_damaged_logs_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    for text, message in [
        ('{"name": "a"}\n{"na\n{"name": "b"}\n', "line 2 is damaged"),
        ('{"name": "a"}\n{"name": "a"}\n', "line 2 repeats sample 'a'"),
        ('{"iou": 1}\n', "line 1 is no record of a sample"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            SampleLog(path)
        assert path.read_text() == text
    with pytest.raises(FileNotFoundError):
        read_samples(tmp_path / "none.jsonl")


def test_rows_beside_the_paper() -> None:
    rows = markdown_rows("reasonseg_val", {"gIoU": 0.62, "cIoU": 0.6, "Pr@0.5": 0.123456})
    assert rows.splitlines() == [
        "| reasonseg_val | gIoU | 62.00 | 61.9 | +0.10 |",
        "| reasonseg_val | cIoU | 60.00 | 65.2 | -5.20 |",
        "| reasonseg_val | Pr@0.5 | 12.35 | – | – |",
    ]
    assert markdown_rows("mine", {"cIoU": 1.0}) == "| mine | cIoU | 100.00 | – | – |"
    columns = {line.count("|") for line in (*TABLE_HEADER.splitlines(), *rows.splitlines())}
    assert columns == {6}


def test_the_papers_figures_agree_with_each_other() -> None:
    papers = {row: values for _, found in evaluations().values() for row, values in found.paper.items()}
    for values in papers.values():
        assert all(0 < value < 100 for value in values.values())
        if "J&F" in values:
            assert values["J&F"] == pytest.approx((values["J"] + values["F"]) / 2, abs=0.06)
    groups = [paper_figures(f"revos_{name}") for name in ("reasoning", "referring", "overall")]
    for metric in ("J", "F", "J&F"):
        assert groups[2][metric] == pytest.approx((groups[0][metric] + groups[1][metric]) / 2, abs=0.06)
