"""The benchmark measures all of its parts or some, and says of each on which machine."""

import json
import sys

import bench
import pytest

OLD = {"machines": {"memory": {"cpu": "old"}, "in_page": {"cpu": "old"}}, "memory": [1], "in_page": [2]}
LINE = {"name": "a line", "baseline_s": 2.0, "ours_s": 1.0}
SIZES = [{"model": "M", "x": [(5, 2, 0.1)], "theirs": [6e-7], "torch.func": [4e-7], "ours": [2e-7]}]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls the benchmark with parts that take no time; what it wrote for the page, and its lines."""
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(OLD))
    quick = {
        "strata": lambda: [LINE],
        "in_page": lambda: [LINE],
        "sizes": lambda: SIZES,
        "memory": lambda: [3],
    }
    monkeypatch.setattr(bench, "KEPT", kept)
    monkeypatch.setattr(bench, "PARTS", quick)
    monkeypatch.setattr(bench, "rows", lambda full: [LINE | {"full": full}])
    monkeypatch.setattr(bench, "machine", lambda: {"cpu": "this"})

    def call(*options):
        lines, page = tmp_path / "lines.json", tmp_path / "page.json"
        monkeypatch.setattr(sys, "argv", ["bench.py", "--json", str(lines), "--page", str(page), *options])
        bench.main()
        return json.loads(page.read_text()), json.loads(lines.read_text())

    return call


def test_all_parts_are_of_this_machine_and_nothing_is_kept(run):
    page, lines = run()
    assert set(page) == {"machines", "rows", "strata", "in_page", "sizes", "memory"}
    assert {one["cpu"] for one in page["machines"].values()} == {"this"}
    assert page["memory"] == [3]
    assert len(lines) == 3 + 2


def test_a_part_alone_leaves_the_others_and_their_machine_as_the_book_has_them(run):
    page, lines = run("--parts", "memory")
    assert page["memory"] == [3]
    assert page["in_page"] == [2]
    assert page["machines"] == {"memory": {"cpu": "this"}, "in_page": {"cpu": "old"}}
    assert lines == []


def test_a_part_that_is_none_is_named(run, capsys):
    with pytest.raises(SystemExit):
        run("--parts", "speed")
    assert "invalid choice: 'speed'" in capsys.readouterr().err


def test_a_peer_s_line_says_what_it_takes_beside_ours():
    lines = bench.rows_of_peers(SIZES)
    assert [line["name"].rpartition(", ")[2] for line in lines] == ["theirs", "torch.func"]
    assert [line["ratio"] for line in lines] == pytest.approx([3, 2])
    assert lines[0]["baseline_s"] == pytest.approx(0.6)  # of a million
