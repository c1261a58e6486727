"""`sweetspot preset`: list, share, take in; libraries; cards; and --preset of a job."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from app import cli, library
from app.catalogue import Catalogue
from app.checks import folder_job
from app.preset_card import pairs_of, read_card, write_card
from app.received import received
from tests.analysis.report_data import write_analysis
from trainer.core.errors import ConfigError, ResourceError, UserError
from trainer.core.events import Sampled, write_to
from trainer.job.file import parse_job
from trainer.job.preset import About, from_values, render_preset
from trainer.job.run import Run
from trainer.job.sharing import to_string


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A clean home, and a current folder of its own."""
    monkeypatch.setenv("SWEETSPOT_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def call(*words, given=None):
    done = CliRunner().invoke(cli.app, list(words), input=given)
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def fails(*words):
    with pytest.raises(UserError) as told:
        call(*words)
    return str(told.value)


def preset(name="mine", **job):
    job = job or {"adapter": {"rank": 4}}
    return from_values({"preset": 1, "about": {"name": name}, "job": job}, "test")


def files_below(folder: Path):
    return {p for p in folder.rglob("*") if p.is_file()}


def test_what_ships_is_listed_and_words_choose():
    every = json.loads(call("preset", "list", "--json"))["presets"]
    some = json.loads(call("preset", "list", "flux", "12gb", "--json"))["presets"]
    assert len(every) > 60
    assert {row["name"] for row in some} == {
        f"flux-{purpose}-12gb" for purpose in ("subject", "character", "style", "object")
    }
    assert "sdxl-style-8gb" in call("preset", "list", "sdxl", "style")


def test_a_preset_goes_out_as_a_string_and_comes_in_on_a_clean_home(home, monkeypatch):
    text = call("preset", "export", "sdxl-character-12gb", "--string").strip()
    monkeypatch.setenv("SWEETSPOT_HOME", str(home.with_name("other")))
    told = call("preset", "import", text, "--as", "mine")
    assert "adapter.rank" in told
    assert "kept as 'mine'" in told
    assert "no setting differs" in call("preset", "diff", "mine", "sdxl-character-12gb")
    assert "already" in fails("preset", "import", text, "--as", "Mine")
    call("preset", "import", text, "--as", "mine", "--replace")


@pytest.mark.parametrize("suffix", [".toml", ".txt", ".png"])
def test_a_preset_goes_out_as_a_file_and_comes_back(suffix):
    call("preset", "export", "flux-style-24gb", "--out", f"it{suffix}")
    call("preset", "import", f"it{suffix}", "--as", "back")
    assert "no setting differs" in call("preset", "diff", "back", "flux-style-24gb")
    assert "there already" in fails("preset", "export", "flux-style-24gb", "--out", f"it{suffix}")


def test_a_string_comes_from_input_as_well():
    assert "kept" in call("preset", "import", "-", given=to_string(preset()) + "\n")


def test_a_preview_keeps_nothing(home):
    told = call("preset", "import", to_string(preset()), "--preview", "--against", "sd-style-8gb")
    assert "adapter.rank" in told
    assert not home.exists()


def test_a_run_becomes_a_preset(tmp_path):
    values = {
        "name": "secretname",
        "runs": str(tmp_path / "runs"),
        "dataset": {"folder": str(tmp_path / "pictures"), "trigger": "sekret"},
        "adapter": {"rank": 8},
    }
    run = Run.create(parse_job(values))
    told = call("preset", "new", "fox", "--from-run", str(run.path), "--tags", "a, b")
    kept = Path(told.rsplit(": ", maxsplit=1)[1].strip()).read_text(encoding="utf-8")
    assert "rank = 8" in kept
    assert not [word for word in ("secretname", "sekret", str(tmp_path)) if word in kept]


def test_a_job_takes_what_it_does_not_say_from_its_preset():
    Path("pictures").mkdir()
    Path("fox.toml").write_text(
        'preset = "sdxl-style-12gb"\n[dataset]\nfolder = "pictures"\n[adapter]\nrank = 9\n',
        encoding="utf-8",
    )
    told = json.loads(call("train", "fox.toml", "--set", "schedule.steps=7", "--explain", "--json"))
    came = {row["setting"]: (row["value"], row["from"]) for row in told["settings"]}
    assert came["adapter.rank"] == (9, "fox.toml")
    assert came["schedule.steps"] == (7, "--set")
    assert came["model.resolution"] == (1024, "preset sdxl-style-12gb (built in)")
    assert came["schedule.clip"] == (1.0, "preset sdxl-style-12gb (built in)")
    assert "alpha 32 / rank 9" in told["rate"]
    other = call("train", "fox.toml", "--preset", "sdxl-subject-8gb", "--explain")
    assert "preset sdxl-subject-8gb" in other
    assert "sdxl-style-12gb" not in other


def test_a_preset_for_another_family_is_refused_where_the_job_asks_for_one():
    Path("fox.toml").write_text(
        '[model]\nkind = "flux"\n[dataset]\nfolder = "."\n', encoding="utf-8"
    )
    told = fails("train", "fox.toml", "--preset", "sd-style-8gb", "--explain")
    assert "for the family 'sd', and fox.toml asks for 'flux'" in told


def test_a_preset_that_is_not_there_is_named_with_the_nearest():
    assert "did you mean sdxl-style-12gb?" in fails("preset", "show", "sdxl-stile-12gb")


def test_a_broken_file_among_one_s_own_is_told_and_the_rest_goes_on(home):
    library.save(preset("good"))
    (home / "presets" / "bad.toml").write_text("adapter.ranck = 4", encoding="utf-8")
    told = json.loads(call("preset", "list", "good", "--json"))
    assert [row["name"] for row in told["presets"]] == ["good"]
    assert "ranck" in told["problems"][0]


def test_a_folder_is_a_library_and_stays_where_it_is(tmp_path):
    shelf = tmp_path / "club" / "deep"
    shelf.mkdir(parents=True)
    (shelf / "a.toml").write_text(render_preset(preset("club-fox")), encoding="utf-8")
    assert "1 presets" in call("preset", "library", "add", str(tmp_path / "club"))
    assert "club-fox" in call("preset", "list", "club")
    assert "rank" in call("preset", "show", "club/club-fox")
    assert "already" in fails("preset", "library", "add", str(tmp_path / "club"))
    call("preset", "library", "remove", "club")
    assert files_below(shelf)
    assert "no such preset" in call("preset", "list", "club-fox")


def test_a_library_whose_folder_is_gone_is_told(tmp_path):
    shelf = tmp_path / "club"
    shelf.mkdir()
    (shelf / "a.toml").write_text(render_preset(preset("club-fox")), encoding="utf-8")
    call("preset", "library", "add", str(shelf))
    shelf.rename(tmp_path / "elsewhere")
    assert "no longer there" in json.loads(call("preset", "list", "--json"))["problems"][0]


def test_a_link_out_of_a_library_is_not_followed(tmp_path):
    shelf, outside = tmp_path / "club", tmp_path / "outside.toml"
    shelf.mkdir()
    outside.write_text(render_preset(preset("outside")), encoding="utf-8")
    (shelf / "a.toml").write_text(render_preset(preset("inside")), encoding="utf-8")
    try:
        (shelf / "b.toml").symlink_to(outside)
    except OSError:
        pytest.skip("this system makes no links")
    assert "1 presets" in call("preset", "library", "add", str(shelf))


def repository(folder: Path) -> str:
    folder.mkdir()
    (folder / "a.toml").write_text(render_preset(preset("git-fox")), encoding="utf-8")
    hook = folder / ".git" / "hooks" / "post-checkout"
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    hook.write_text(f"#!/bin/sh\ntouch {folder.parent}/hooked\n", encoding="utf-8")
    hook.chmod(0o755)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    return folder.absolute().as_uri()


def test_a_repository_is_a_library_and_is_fetched_anew(tmp_path):
    source = tmp_path / "recipes"
    address = repository(source)
    assert "added 'recipes' with 1 presets" in call("preset", "library", "add", address)
    assert "git-fox" in call("preset", "list", "recipes")
    (source / "b.toml").write_text(render_preset(preset("git-dog")), encoding="utf-8")
    git = ["git", "-C", str(source), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "y"], check=True)
    assert "recipes: 2 presets" in call("preset", "library", "update")
    call("preset", "library", "remove", "recipes")
    assert "no library" in call("preset", "library", "list")
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize(
    "address",
    ["ext::sh -c touch% hooked", "--upload-pack=touch hooked", "nowhere", "file:///no/such/place"],
)
def test_an_address_that_is_none_is_refused_and_runs_nothing(address, home):
    assert "git" in fails("preset", "library", "add", "--name", "x", "--", address)
    assert not Path("hooked").exists()
    assert not (home / "libraries" / "x").exists()


def test_where_git_is_missing_a_folder_is_offered(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "add a folder" in fails("preset", "library", "add", "https://example.org/x.git")


def test_a_card_shows_before_and_after_and_holds_its_recipe(tmp_path):
    run = Run.create(parse_job({"runs": str(tmp_path), "dataset": {"folder": "."}}))
    emit = write_to(run.events_path)
    for epoch, colour in ((0, "#ff0000"), (8, "#0000ff")):
        name = f"samples/e{epoch}.png"
        Image.new("RGB", (64, 64), colour).save(run.path / name)
        emit(Sampled(epoch, epoch, "a fox", 42, name))
    call("preset", "export", "sd-style-8gb", "--out", "card.png", "--run", str(run.path))
    with Image.open("card.png") as card:
        colours = {colour for _, colour in card.convert("RGB").getcolors(2**24)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert read_card(Path("card.png")).name == "sd-style-8gb"


def test_a_card_shows_the_choice_of_an_analysis_before_samples(tmp_path):
    run = Run.create(parse_job({"runs": str(tmp_path), "dataset": {"folder": "."}}))
    folder = run.path / "analysis" / "one"
    folder.mkdir(parents=True)
    (folder / "sweep.toml").write_text("", encoding="utf-8")
    write_analysis(folder)
    told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    choice = told["verdict"]["choice"]
    pairs = pairs_of(run)
    assert pairs
    title = f"epoch {choice['epoch']} at strength {choice['strength']:g}"
    assert {pair.title for pair in pairs} == {title}
    kinds = {cell["picture"]: told["prompts"][cell["prompt"]]["kind"] for cell in told["cells"]}
    shown = [kinds[pair.after.relative_to(folder).as_posix()] for pair in pairs]
    assert set(shown) == {"trigger"}


def test_a_picture_without_a_preset_is_told_so():
    Image.new("RGB", (8, 8)).save("plain.png")
    assert "no preset inside" in fails("preset", "import", "plain.png")
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert "no whole PNG" in fails("preset", "import", "broken.png")


def test_a_picture_that_unpacks_to_gigabytes_is_refused():
    Image.new("1", (40000, 40000)).save("huge.png")
    assert "too large" in fails("preset", "import", "huge.png")


def test_a_home_that_cannot_be_written_is_one_sentence(home):
    home.write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(ResourceError):
        library.save(preset())


def test_what_is_written_lies_in_the_home_alone(tmp_path, home):
    before = files_below(tmp_path)
    for name in ("one", "two"):
        library.save(preset(name))
    assert all(p.is_relative_to(home) for p in files_below(tmp_path) - before)


def test_a_long_sentence_still_makes_a_card(tmp_path):
    about = About(name="x" * 64, sentence="wide " * 119, author="a" * 100)
    write_card(from_values({"preset": 1, "about": about.model_dump()}, "x"), tmp_path / "x.png")
    assert read_card(tmp_path / "x.png").about.sentence.startswith("wide")


def test_a_name_that_is_no_name_is_refused():
    with pytest.raises(ConfigError, match="no name for a preset"):
        call("preset", "import", to_string(preset()), "--as", "../up")


def club(folder: Path, rank: int, name: str = "fox") -> None:
    folder.mkdir()
    (folder / "a.toml").write_text(render_preset(preset(name, adapter={"rank": rank})), "utf-8")
    call("preset", "library", "add", str(folder))


def explained(named: str) -> tuple[object, str]:
    Path("job.toml").write_text(f'preset = "{named}"\n[dataset]\nfolder = "."\n', "utf-8")
    told = json.loads(call("train", "job.toml", "--explain", "--json"))
    (row,) = [row for row in told["settings"] if row["setting"] == "adapter.rank"]
    return row["value"], row["from"]


def test_a_preset_that_hides_one_that_ships_is_told_and_both_can_be_named(capfd):
    text = to_string(preset("sd-style-demo", adapter={"rank": 3}))
    for words in (["--preview"], []):
        done = CliRunner().invoke(cli.app, ["preset", "import", text, *words])
        assert done.exit_code == 0
        assert "'built in/sd-style-demo'" in capfd.readouterr().err + done.stderr
    assert explained("sd-style-demo") == (3, "preset sd-style-demo (own)")
    assert explained("built in/sd-style-demo") == (32, "preset sd-style-demo (built in)")


def test_a_preset_of_a_file_is_called_by_the_file_too():
    Path("ink.toml").write_text(render_preset(preset("ink")), "utf-8")
    assert explained("ink.toml") == (4, "preset ink (ink.toml)")


def test_a_name_of_two_libraries_is_to_be_given_in_full_unless_it_is_one_s_own(tmp_path):
    club(tmp_path / "a", 5)
    assert explained("fox") == (5, "preset fox (a)")
    club(tmp_path / "b", 6)
    told = fails("preset", "show", "fox")
    assert "2 libraries have a preset 'fox'" in told
    assert "a/fox, b/fox" in told
    assert explained("b/fox") == (6, "preset fox (b)")
    rows = {row["ref"]: row["call"] for row in Catalogue().rows() if row["name"] == "fox"}
    assert rows == {"a/fox": "a/fox", "b/fox": "b/fox"}
    library.save(preset("fox", adapter={"rank": 7}))
    assert explained("fox") == (7, "preset fox (own)")


@pytest.mark.parametrize(
    "chat", ["> {}", "**{}**", "try this: {} cheers", "hello\n\n{}\n\nbye", "<{}>", "> {}\n> yes"]
)
def test_a_string_is_found_in_what_a_chat_shows(chat):
    text = chat.format(to_string(preset("chatty")))
    assert "adapter.rank" in call("preset", "show", text)
    assert "kept as 'chatty'" in call("preset", "import", "-", given=text)
    assert "no setting differs" in call("preset", "diff", text, "chatty")
    Path("greeting.txt").write_text(f"Dear all,\n{text}\n", encoding="utf-8")
    assert "adapter.rank" in call("preset", "show", "greeting.txt")


def test_a_preset_file_that_speaks_of_a_string_is_itself():
    note = f"# also: {to_string(preset('other'))}\n"
    Path("it.toml").write_text(note + render_preset(preset("it")), encoding="utf-8")
    assert call("preset", "show", "it.toml").startswith("it")


@pytest.mark.parametrize("text", ["two\nlines", "x" * 5000, "zero\0"])
def test_a_text_that_is_no_string_and_no_name_is_one_sentence(text):
    assert "neither a preset string" in fails("preset", "show", text)


def test_a_card_is_given_as_bytes_and_still_read_as_a_card():
    write_card(preset("card"), Path("card.png"))
    assert received("card.png", Path("card.png").read_bytes()).name == "card"
    greeting = f"{'Dear all, ' * 50}{to_string(preset('pasted'))}"
    assert received("pasted.txt", greeting.encode()).name == "pasted"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes of that kind")
def test_a_pipe_is_no_preset_file():
    os.mkfifo("pipe.toml")
    assert "no plain file" in fails("preset", "import", "pipe.toml")


def test_a_card_takes_its_run_from_another_folder_of_runs(tmp_path):
    run = Run.create(parse_job({"runs": str(tmp_path / "far"), "dataset": {"folder": "."}}))
    Image.new("RGB", (64, 64)).save(run.path / "samples" / "e0.png")
    Image.new("RGB", (64, 64)).save(run.path / "samples" / "e8.png")
    emit = write_to(run.events_path)
    emit(Sampled(0, 0, "a fox", 42, "samples/e0.png"))
    emit(Sampled(8, 8, "a fox", 42, "samples/e8.png"))
    words = ["--out", "card.png", "--run", run.name, "--runs", str(tmp_path / "far")]
    assert "wrote" in call("preset", "export", "sd-style-8gb", *words)


def test_a_repository_that_cannot_be_fetched_does_not_stop_the_others(tmp_path, home):
    for name in ("a", "b"):
        call("preset", "library", "add", repository(tmp_path / name))
    (tmp_path / "a").rename(tmp_path / "gone")
    done = CliRunner().invoke(cli.app, ["preset", "library", "update"])
    assert "b: 1 presets" in done.stdout
    assert isinstance(done.exception, ConfigError)
    assert "not fetched: a: git could not fetch it" in str(done.exception)
    assert (home / "libraries" / "a" / "a.toml").is_file()


def test_a_job_file_with_a_search_is_trained_without_it():
    Path("fox.toml").write_text('[dataset]\nfolder = "."\n[search]\ntrials = 3\n', encoding="utf-8")
    assert "fox.toml" in call("train", "fox.toml", "--explain")


def test_a_dataset_is_checked_for_a_job_that_names_its_preset():
    Path("fox.toml").write_text('preset = "sd-style-8gb"\n', encoding="utf-8")
    assert folder_job(Path("pictures"), Path("fox.toml"), []).adapter.rank == 32
