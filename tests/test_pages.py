"""Tables in README and docs are what the results say."""

import json
import re
import shutil

import numpy as np
import pytest

from benchmarks import dates, pages


def test_tables_in_the_pages_are_those_of_the_results() -> None:
    """If they are not: ``python -m benchmarks.pages``."""
    found = list(pages.renewed())
    for path, text, new in found:
        assert text == new, path
    names = [name for _, text, _ in found for name in re.findall(r"<!-- table (\w+) -->", text)]
    assert sorted(names) == sorted(pages.TABLES)  # each stands once
    assert all(text.count("<!-- table ") == text.count("<!-- end of table -->") for _, text, _ in found)


def test_a_wrong_number_is_written_anew(tmp_path, monkeypatch) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "weight_maximization.md"
    shutil.copy(pages.ROOT / "docs" / page.name, page)
    (tmp_path / "README.md").write_text("nothing to write\n", encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert "| hidden units frozen" in text
    page.write_text(
        re.sub(r"\| CartPole-v1 \| Weight Max \| .*", "| CartPole-v1 | Weight Max | 9999 |", text), encoding="utf-8"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    pages.main([])
    assert page.read_text(encoding="utf-8") == text


def test_a_page_that_asks_for_an_unknown_table(tmp_path, monkeypatch) -> None:
    (tmp_path / "README.md").write_text("<!-- table of_contents -->\n<!-- end of table -->\n", encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(KeyError, match="of_contents"):
        list(pages.renewed())


def test_runs_say_their_day_or_the_kept_history_does(tmp_path, monkeypatch) -> None:
    folders = {path.parent for name in ("table1", "map_prop") for path in (dates.RESULTS / name).rglob("seed_0.npz")}
    assert len(folders) > 30
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", dates.date_of(folder)) for folder in folders)
    monkeypatch.setattr(dates, "RESULTS", tmp_path)
    monkeypatch.setattr(dates, "FILE", tmp_path / "dates.json")
    (tmp_path / "dates.json").write_text('{"a": "2026-01-01", "b": "2026-01-02"}', encoding="utf-8")
    for name, days in (("a", ["2026-02-01", "2026-03-01", None]), ("b", [None])):
        (tmp_path / name).mkdir()
        for seed, day in enumerate(days):
            np.savez(tmp_path / name / f"seed_{seed}.npz", facts=np.array(json.dumps({"date": day} if day else {})))
    assert dates.date_of(tmp_path / "a") == "2026-03-01"
    assert dates.date_of(tmp_path / "b") == "2026-01-02"
