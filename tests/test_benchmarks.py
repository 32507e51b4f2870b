"""The benchmarks' common parts: what they claim, how they are run, and the page; nothing heavy is measured here."""

import ast
import doctest
import importlib
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as runner
from benchmarks import claims, clocks, growth, machine, profiles
from benchmarks.claims import Ratio, at_least, at_most, concluded, parsed, parser
from benchmarks.runner import Outcome, page_tables, put_tables, ratio_text, rows_of, run_script

HERE = Path(runner.__file__).parent
SCRIPTS = sorted(path.stem for path in HERE.glob("*.py") if "\ndef main(" in path.read_text("utf-8"))


def docstring(name):
    return ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text("utf-8"))) or ""


def outcome(*ratios, error=None, tables=None):
    return Outcome("one", 1.0, 0.5, 0.5, ratios, tables or {}, None, error)


def script(tmp_path, text):
    """Return the command that runs `text` as a benchmark, with a main that has `arguments` and what claims need."""
    head = "from benchmarks.claims import *\narguments = parsed(parser('Claim: x'), quick={})\n"
    file = tmp_path / "script.py"
    file.write_text(head + text, "utf-8")
    return clocks.python(str(file))


# -- every script


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_answers_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "python -m benchmarks" in said
    if name in runner.SPEED:
        assert "--json FILE" in said
        assert "--quick" in said


def test_scripts_that_claim_something_are_run_and_no_others():
    claiming = {name for name in SCRIPTS if docstring(name).startswith("Claim")}
    assert claiming == {*runner.SPEED, *runner.TRUTH}
    assert not set(runner.SPEED) & set(runner.TRUTH)


@pytest.mark.parametrize("name", [*runner.SPEED, *runner.TRUTH])
def test_a_claim_names_its_command(name):
    assert f"python -m benchmarks.{name}" in docstring(name)
    assert runner.claim_of(name).startswith("Claim")


@pytest.mark.parametrize("module", [claims, growth, profiles])
def test_what_docstrings_show_is_so(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


# -- ratios


def test_a_ratio_is_reached_at_its_bound_and_on_the_right_side_of_it():
    assert at_least("speed", 2.0, 2.0, limit="").reached
    assert not at_least("speed", math.nextafter(2.0, 0.0), 2.0, limit="").reached
    assert at_most("memory", 2.0, 2.0, limit="").reached
    assert not at_most("memory", math.nextafter(2.0, 3.0), 2.0, limit="").reached


def test_a_ratio_survives_json():
    one = at_most("a|b", 1.25, 2, limit="why", unit="MiB")
    assert Ratio.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_ratio_without_a_value_is_refused(value):
    with pytest.raises(ValueError, match="speed: figures must be finite"):
        at_least("speed", value, 1.0, limit="")


def test_another_bound_is_refused():
    with pytest.raises(ValueError, match="'at least' or 'at most', got 'below'"):
        Ratio.from_dict({**at_most("x", 1, 1, limit="").to_dict(), "bound": "below"})


@pytest.mark.parametrize("value", [0.0123, 0.5, 3.14159, 42.42, 123456.7, -2.5])
def test_a_shown_number_is_close_to_the_number(value):
    assert float(claims.number(value).replace(",", "")) == pytest.approx(value, rel=0.05)


# -- a script's command line


def test_quick_changes_defaults_and_not_what_is_given():
    def options():
        made = parser("Claim: x")
        made.add_argument("--rounds", type=int, default=7)
        made.add_argument("--steps", type=int, default=9)
        return made

    full = parsed(options(), [], quick={"rounds": 1, "steps": 2})
    assert (full.rounds, full.steps, full.quick) == (7, 9, False)
    short = parsed(options(), ["--quick", "--steps", "5"], quick={"rounds": 1, "steps": 2})
    assert (short.rounds, short.steps, short.quick) == (1, 5, True)


def test_a_script_without_a_smoke_run_refuses_one(capsys):
    with pytest.raises(SystemExit):
        parsed(parser("Claim: x"), ["--quick"])
    assert "unrecognized arguments: --quick" in capsys.readouterr().err


def test_what_is_concluded_is_printed_and_written(tmp_path, capsys):
    file = tmp_path / "out.json"
    arguments = parsed(parser("Claim: x"), ["--json", str(file)], quick={})
    claim = at_least("speed", 3.0, 2.0, limit="why")
    assert concluded(arguments, [claim], tables={"small": [["a"], ["1"]]}, rows=[1, 2]) == 0
    assert "speed" in capsys.readouterr().out
    told = json.loads(file.read_text("utf-8"))
    assert [Ratio.from_dict(one) for one in told["ratios"]] == [claim]
    assert told["tables"] == {"small": [["a"], ["1"]]}
    assert told["rows"] == [1, 2]
    assert told["threads"] == torch.get_num_threads()


# -- clocks


def test_rounds_take_turns_and_every_other_one_is_backwards():
    done = []
    found = clocks.interleaved({name: lambda name=name: done.append(name) or 1.0 for name in "abc"}, 3, warm_up=1)
    assert "".join(done) == "abc" + "abc" + "cba" + "abc"
    assert all(len(seconds) == 3 for seconds in found.seconds.values())


def test_the_ratio_of_rounds_is_that_of_neighbours_in_time():
    # The machine becomes ten times slower: each round's ratio is 2 all the same, that of the medians is not always.
    found = clocks.Rounds({"slow": [2.0, 20.0, 200.0], "fast": [1.0, 10.0, 100.0]})
    assert found.ratios("slow", "fast") == [2.0, 2.0, 2.0]
    assert found.ratio("slow", "fast") == 2.0
    assert (found.best("slow"), found.median("slow")) == (2.0, 20.0)


def test_a_timed_call_is_measured_by_the_clock_that_is_given():
    ticks = iter([10.0, 12.5])
    assert clocks.timed(lambda: None, lambda: next(ticks))() == 2.5


def test_a_process_sees_the_repository_and_its_output_comes_back():
    code = "import os, benchmarks.clocks; print(os.environ['WORD'])"
    spent = clocks.process(clocks.python("-c", code), environment={"WORD": "so"}, stdout=clocks.subprocess.PIPE)
    assert (spent.code, spent.output) == (0, "so\n")
    assert 0.0 < spent.cpu <= 2.0 * spent.wall


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux's account of memory")
def test_a_peak_counts_what_was_held_and_let_go_again():
    clocks.restart_peak()
    before = clocks.peak()
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    del held
    assert clocks.peak() - before > 48.0
    clocks.restart_peak()
    assert clocks.peak() - before < 48.0


# -- counting


def test_operations_are_those_of_the_definition(draw):
    left, right = draw(3, 5), draw(5, 7)
    assert profiles.operations_of(lambda: left @ right) == 2 * 3 * 5 * 7
    image, kernel = draw(2, 4, 8, 8), draw(6, 4, 3, 3)
    made = lambda: torch.nn.functional.conv2d(image, kernel, padding=1)  # noqa: E731
    assert profiles.operations_of(made) == 2 * (2 * 6 * 8 * 8) * (4 * 3 * 3)


def test_operations_of_a_second_derivative_are_counted(draw):
    weight = draw(4, 4).requires_grad_()

    def penalty():
        x = torch.ones(2, 4, requires_grad=True)
        (slope,) = torch.autograd.grad((x @ weight).square().sum(), x, create_graph=True)
        slope.square().sum().backward()

    first = profiles.operations_of(lambda: (torch.ones(2, 4) @ weight).square().sum())
    assert profiles.operations_of(penalty) > 2 * first > 0


def test_shares_sum_to_one_and_name_what_was_done(draw):
    x = draw(200, 200)
    shares = profiles.operation_shares(lambda: [x @ x for _ in range(20)])
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["matrix products"] > 0.0

    def heavy():
        return sum(k * k for k in range(100_000))

    shares = profiles.function_shares(heavy)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["`sum`"] + shares["`test_benchmarks.genexpr`"] > 0.9


# -- growth


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
def test_the_exponent_of_a_power_is_the_power(power):
    sizes = [10, 100, 1000]
    assert growth.exponent(sizes, [3.0 * n**power for n in sizes]) == pytest.approx(power)


def test_n_log_n_is_reached_and_a_higher_power_is_not():
    sizes = [1_000, 10_000, 100_000, 1_000_000]
    for cost, reached in ((lambda n: n, True), (lambda n: 0.99 * n * math.log(n), True), (lambda n: n**1.2, False)):
        claim, table = growth.grown("sampling", sizes, [(1e-6 * cost(n), 1.0) for n in sizes])
        assert claim.reached is reached
        assert [row[1] for row in table] == ["1,000", "10,000", "100,000", "1,000,000"]


# -- the machine


def test_the_machine_is_told_and_nothing_else():
    about = {"machine": machine.machine(), "versions": machine.versions()}
    assert about["machine"]["cores"] >= 1
    assert torch.__version__.startswith(about["versions"]["torch"].partition("+")[0])
    text = json.dumps(about) + machine.told(about)
    assert str(Path.home()) not in text
    assert str(HERE.parent) not in text


# -- running


def test_a_script_is_run_and_read(tmp_path, capfd):
    command = script(tmp_path, "print('table'); concluded(arguments, [at_least('speed', 3, 2, limit='why')], rows=[1])")
    found = run_script("one", command, tmp_path)
    assert found.error is None
    assert [one.name for one in found.ratios] == ["speed"]
    assert found.figures["rows"] == [1]
    assert "table" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('no room')", "exit code 1: ValueError: no room"),
        ("import sys; sys.exit(3)", "exit code 3: nothing was said"),
        ("pass", "its JSON cannot be read: FileNotFoundError"),
        ("arguments.json.write_text('{')", "its JSON cannot be read: JSONDecodeError"),
        ("arguments.json.write_text('[]')", "its JSON cannot be read: TypeError"),
        ('arguments.json.write_text(\'{"ratios": [{}], "tables": {}}\')', "its JSON cannot be read: KeyError"),
    ],
)
def test_a_script_that_fails_is_told_so(tmp_path, capfd, text, error):
    found = run_script("one", script(tmp_path, text), tmp_path)
    assert found.error is not None
    assert found.error.startswith(error)
    assert found.ratios == ()
    assert list(rows_of([found])) == [["one", "failed", "", "no", found.error]]


def test_one_failure_stops_nothing_and_is_the_exit_code(tmp_path, monkeypatch, capfd):
    good = script(tmp_path, "concluded(arguments, [at_least('speed', 1, 2, limit='why')])")
    names = iter([clocks.python("-c", "raise SystemExit('broken')"), good])
    monkeypatch.setattr(runner, "python", lambda *_: next(names))
    out = tmp_path / "out.json"
    assert runner.main(["--only", "imports", "frames", "--json", str(out)]) == 1
    told = json.loads(out.read_text("utf-8"))
    assert [one["script"] for one in told["scripts"]] == ["imports", "frames"]
    assert told["scripts"][0]["error"] == "exit code 1: broken"
    assert told["scripts"][1]["error"] is None
    assert {"machine", "versions"} <= set(told)
    assert {"date", "commit", "load_before"} <= set(told["scripts"][1])
    said = capfd.readouterr().out
    assert re.search(r"^imports +failed", said, re.MULTILINE)
    assert "speed" in said


def test_a_claim_that_is_not_reached_is_no_failure(tmp_path, monkeypatch, capfd):
    command = script(tmp_path, "concluded(arguments, [at_least('speed', 1, 2, limit='why')])")
    monkeypatch.setattr(runner, "python", lambda *_: command)
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- table ratios -->\nold\n<!-- end ratios -->\nafter\n", "utf-8")
    assert runner.main(["--only", "imports", "--json", str(tmp_path / "out.json"), "--page", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "| speed | 1.00 | at least 2 | no | why |" in text
    assert "old" not in text
    assert text.startswith("# Title\n")
    assert text.endswith("\nafter\n")


def test_a_part_is_measured_anew_and_the_rest_is_kept_with_its_date(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- table ratios -->\n<!-- end ratios -->\n", "utf-8")
    values = iter([1, 2, 3])

    def run(name, *_):
        ratio = at_least(f"speed of {name}", next(values), 2, limit="why")
        figures = {"ratios": [ratio.to_dict()], "tables": {}}
        return Outcome(name, 1.0, 0.5, 0.5, (ratio,), {}, figures, None, "2026-01-02T03:04:05", f"of {name}")

    monkeypatch.setattr(runner, "run_script", run)
    assert runner.main(["--only", "imports", "frames", "--page", "page.md"]) == 0
    assert runner.main(["--only", "imports", "--keep", "--page", "page.md"]) == 0
    text = page.read_text("utf-8")
    assert "| speed of imports | 3.00 | at least 2 | yes | why |" in text
    assert "| speed of frames | 2.00 | at least 2 | yes | why |" in text
    assert "imports: 2026-01-02, commit of imports; frames: 2026-01-02, commit of frames." in text
    monkeypatch.setattr(runner, "versions", lambda: {"python": "4"})
    with pytest.raises(SystemExit):
        runner.main(["--only", "imports", "--keep"])
    assert "by a run with another versions; run all again" in capfd.readouterr().err


def test_a_claim_that_is_just_missed_is_seen_to_be(tmp_path):
    row = next(rows_of([outcome(at_least("speed", 0.9466, 0.95, limit="why"))]))
    assert row[:4] == ["speed", "0.9466", "at least 0.95", "no"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--keep"], "--keep is for a part"),
        (["--only", "imports", "--keep", "--json", "none.json"], "none.json is no result of an earlier run"),
        (["--quick", "--page", "page.md"], "a smoke run's figures mean nothing"),
        (["--quick", "--truth"], "a smoke run takes only those"),
        (["--only", "nothing"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(argv, text, capsys, monkeypatch):
    monkeypatch.setattr(runner, "run_script", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as ended:
        runner.main(argv)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_the_list_shows_every_command_and_runs_none(capsys, monkeypatch):
    monkeypatch.setattr(runner, "run_script", lambda *_: pytest.fail("it ran"))
    assert runner.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(f"python -m benchmarks.{name}" in said for name in (*runner.SPEED, *runner.TRUTH))


# -- the page


def test_tables_replace_what_is_between_their_markers_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    kept = "a\n<!-- table x -->\n{}\n<!-- end x -->\nb <!-- table y --><!-- end y -->\n"
    page.write_text(kept.format("old \\1"), "utf-8")
    assert put_tables(page, {"x": "new \\1 \\g<0>", "z": "nowhere"}) == ["z"]
    assert page.read_text("utf-8") == kept.format("new \\1 \\g<0>")
    put_tables(page, {"x": "new \\1 \\g<0>"})
    assert page.read_text("utf-8") == kept.format("new \\1 \\g<0>")


def test_a_table_that_does_not_end_is_refused_and_the_page_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- end x -->\n<!-- table x -->\n", "utf-8")
    with pytest.raises(ValueError, match="without <!-- end x --> after it"):
        put_tables(page, {"x": "new"})
    assert page.read_text("utf-8") == "<!-- end x -->\n<!-- table x -->\n"


def test_the_page_gets_the_ratios_and_the_scripts_own_tables():
    found = outcome(at_most("a|b", 1, 2, limit="why", unit="s"), tables={"growth": [["n", "s"], ["10", "1.5"]]})
    texts = page_tables([found], "On a machine.")
    assert texts["ratios"].splitlines()[2] == "| a\\|b | 1.00 s | at most 2 s | yes | why |"
    assert texts["ratios"].endswith("\n\nOn a machine.")
    assert texts["growth"].splitlines()[-1] == "| 10 | 1.5 |"


def test_the_docs_page_has_a_place_for_each_table():
    text = (HERE.parent / "docs" / "benchmarks.md").read_text("utf-8")
    for name in ("ratios", "rates", "floors", "growth", "report"):
        assert text.index(f"<!-- table {name} -->") < text.index(f"<!-- end {name} -->")


def test_the_terminal_shows_what_limits_a_ratio_below_it():
    lines = ratio_text([outcome(at_least("speed", 3, 2, limit="the wire"), error=None)]).splitlines()
    assert lines[1].split() == ["speed", "3.00", "at", "least", "2", "yes"]
    assert lines[2].strip() == "the wire"


def test_running_the_runner_needs_no_torch():
    code = "import benchmarks.__main__, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert clocks.process([sys.executable, "-c", code]).code == 0
