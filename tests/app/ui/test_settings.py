"""The page for what is set once."""

from __future__ import annotations

import os

import pytest

from app import effect
from app.settings import AppSettings, load_settings, save_settings

pytestmark = pytest.mark.ui


@pytest.fixture(autouse=True)
def own_token(tmp_path, monkeypatch):
    """The hub's store of this test; what the settings say of offline is heard."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "hf" / "stored"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(effect, "_GIVEN", {})
    before = os.environ.copy()
    yield tmp_path / "hf"
    os.environ.clear()
    os.environ.update(before)


def setting(page, name):
    return page.locator(f'[name="{name}"]')


def field(page, name):
    return page.locator(f'[data-path="{name}"]')


def test_what_is_saved_is_there_after_a_reload_and_new_work_follows_it(visit, tmp_path):
    page = visit("/settings")
    setting(page, "runs").fill(str(tmp_path / "more" / "runs"))
    setting(page, "precision").select_option("fp32")
    setting(page, "offline").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    page.reload()
    page.locator("body[data-ready=yes]").wait_for(state="attached")
    assert setting(page, "precision").input_value() == "fp32"
    assert load_settings().offline
    assert load_settings().runs == tmp_path / "more" / "runs"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["SWEETSPOT_PRECISION"] == "fp32"
    setting(page, "offline").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_was_typed_and_not_saved_is_there_when_the_page_opens_again(visit):
    page = visit("/settings")
    setting(page, "port").fill("9123")
    page.goto(page.url.replace("/settings", "/home"))
    page.go_back()
    page.locator("body[data-ready=yes]").wait_for(state="attached")
    assert setting(page, "port").input_value() == "9123"
    assert load_settings().port == 7860


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("port", "80", "1024"),
        ("port", "many", "integer"),
        ("runs", "/proc/nothing/here", "othing can be written"),
    ],
)
def test_a_bad_value_is_told_at_its_field_and_nothing_is_saved(visit, name, typed, words):
    page = visit("/settings")
    setting(page, "precision").select_option("bf16")
    setting(page, name).fill(typed)
    page.get_by_role("button", name="Save").click()
    wrong = field(page, name).get_by_role("alert")
    wrong.wait_for()
    assert words in wrong.inner_text()
    assert page.evaluate("document.activeElement.name") == name
    assert load_settings() == AppSettings()


def test_a_device_that_this_machine_has_not_is_refused(visit):
    save_settings({"device": "cuda:7"})
    page = visit("/settings")
    page.get_by_text("not on this machine").wait_for(timeout=120_000, state="attached")
    page.get_by_role("button", name="Save").click()
    wrong = field(page, "device").get_by_role("alert")
    wrong.wait_for()
    assert "no device 'cuda:7'" in wrong.inner_text()
    setting(page, "device").select_option("cpu")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert os.environ["SWEETSPOT_DEVICE"] == "cpu"


def test_the_theme_acts_at_once_and_stays(visit):
    page = visit("/settings")
    setting(page, "theme").select_option("dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_function(
        "() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 22, 26)'"
    )
    page.goto(page.url.replace("/settings", "/home"))
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_folder_is_closed_and_shown_no_more(visit, tmp_path):
    kept, closed = tmp_path / "kept", tmp_path / "<b>closed<b> \u202eزهر"
    for folder in (kept, closed):
        folder.mkdir()
    save_settings({"opened": [str(kept), str(closed)]})
    page = visit("/settings")
    page.get_by_role("button", name=f"Close the folder {closed}").click()
    page.get_by_role("button", name=f"Close the folder {closed}").wait_for(state="detached")
    assert load_settings().opened == (str(kept),)
    assert closed.is_dir()


def test_a_token_is_never_shown_and_can_be_forgotten(visit, own_token):
    own_token.mkdir()
    (own_token / "token").write_text("hf_secretsecret")
    page = visit("/settings")
    page.get_by_text("A token is set").wait_for()
    assert "secretsecret" not in page.content()
    assert "secretsecret" not in page.request.get(page.url + "/../api/settings/all").text()
    page.get_by_role("button", name="Forget it").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
    page.get_by_text("No token is set").wait_for()
    assert not (own_token / "token").exists()


@pytest.mark.parametrize("typed", ["", "two words", "hf_ключ", "x" * 20_000 + " "])
def test_what_is_no_token_is_refused_at_the_field(visit, own_token, typed):
    page = visit("/settings")
    page.expected += ["400"]
    os.environ["HF_HUB_OFFLINE"] = "1"
    page.get_by_label("Access token").fill(typed)
    page.get_by_role("button", name="Keep this token").click()
    page.locator("#token-wrong:visible").wait_for()
    assert not own_token.exists()


def test_a_settings_file_that_cannot_be_read_is_told_and_put_aside(visit, home):
    (home / "settings.toml").write_text("runs = [", encoding="utf-8")
    page = visit("/settings")
    page.get_by_text("The settings file cannot be read").wait_for()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert (home / "settings.old").read_text() == "runs = ["
    assert load_settings().runs == AppSettings().runs.absolute()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colours(visit, require_accessible, scheme):
    page = visit("/settings", color_scheme=scheme)
    page.get_by_text("With precision at auto").wait_for(timeout=120_000)
    require_accessible(page)


def test_auto_means_what_the_settings_say(monkeypatch):
    from trainer.core.device import plan

    save_to = effect.take
    save_to(AppSettings(device="cpu", precision="bf16"))
    made = plan("auto", "auto")
    assert (made.device, made.precision) == ("cpu", "bf16")
    save_to(AppSettings(precision="fp16"))
    assert plan("cpu", "auto").precision in ("bf16", "fp32")
