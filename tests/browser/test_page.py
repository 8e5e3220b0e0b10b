"""The page in a real browser: upload, prediction, heatmap, sorting, errors, keyboard, phone, dark, without scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .chromium import Chromium

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
WHOLE = "!document.querySelector('.waiting, .again') && document.querySelectorAll('#answer > section').length === 4"
DECISION = "document.querySelector('h2.decision')?.textContent"


def test_an_image_gets_a_prediction_and_all_parts(browser: Chromium, address: str, photo: Path) -> None:
    browser.open(f"{address}/")
    browser.choose("#image", photo)
    decision = browser.until(DECISION)
    assert decision.startswith(("real, ", "edited, "))
    assert browser.until("document.getElementById('state').textContent") == f"Prediction: {decision}."
    assert browser.run("document.activeElement.textContent") == decision  # focus moves there, for screen readers
    browser.until(WHOLE)
    titles = browser.run("[...document.querySelectorAll('#answer h3')].map(h => h.textContent)")
    assert titles == ["Metadata of the file", "Heatmap", "Nearest training images", "Stability"]
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    widths = browser.run("[...document.querySelectorAll('.answer .level')].map(r => r.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True) and widths[0] > 0


def test_the_slider_moves_the_map(browser: Chromium, address: str, photo: Path) -> None:
    browser.open(f"{address}/")
    browser.choose("#image", photo)
    browser.until("!!document.querySelector('#opacity')")
    opacity = "Number(getComputedStyle(document.querySelector('.layer')).opacity)"
    before = browser.run(opacity)
    browser.run("document.querySelector('#opacity').focus()")
    for _ in range(5):
        browser.press("ArrowLeft")
    assert browser.run(opacity) == pytest.approx(before - 0.05)
    assert browser.run("document.querySelector('output').value") == f"{round(100 * (before - 0.05))} %"
    shape = "(s => [getComputedStyle(s).width, getComputedStyle(s).height])(document.querySelector('{}'))"
    assert browser.run(shape.format(".overlay .layer")) == browser.run(shape.format(".overlay img"))


def test_dropped_and_pasted_images_are_predicted(browser: Chromium, address: str, photo: Path) -> None:
    picture = json.dumps(list(photo.read_bytes()))
    moved = (
        f"const t = new DataTransfer(); t.items.add(new File([new Uint8Array({picture})], 'NAME.jpg', {{type: 'image/jpeg'}}));"
    )
    browser.open(f"{address}/")
    drop = "document.dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true, cancelable: true}))"
    browser.run(f"(() => {{ {moved.replace('NAME', 'dropped')} {drop}; }})()")
    browser.until("document.querySelector('.answer figcaption')?.textContent === 'dropped.jpg'")
    paste = "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true}))"
    browser.run(f"(() => {{ {moved.replace('NAME', 'pasted')} {paste}; }})()")
    browser.until("document.querySelector('.answer figcaption')?.textContent === 'pasted.jpg'")


def test_errors_name_what_is_wrong(browser: Chromium, address: str, broken: Path, photo: Path, tmp_path: Path) -> None:
    browser.open(f"{address}/")
    browser.choose("#image", broken)
    assert browser.until("document.querySelector('[role=alert] h2')?.textContent") == "This image cannot be predicted"
    assert "truncated" in browser.run("document.querySelector('[role=alert]').textContent")
    large = tmp_path / "large.jpg"
    large.write_bytes(photo.read_bytes() + bytes(1_100_000))
    browser.choose("#image", large)
    browser.until("document.getElementById('state').textContent.includes('the limit is 1 MB')")
    browser.choose("#image", photo)  # and it goes on
    browser.until(DECISION)


def test_the_leaderboard_sorts(browser: Chromium, address: str) -> None:
    browser.open(f"{address}/leaderboard")
    names = "[...document.querySelectorAll('tbody tr')].map(r => r.cells[1].dataset.value)"
    values = "[...document.querySelectorAll('tbody tr')].map(r => Number(r.cells[9].dataset.value))"
    first = browser.run(names)
    click = "document.querySelectorAll('.sortable thead button')[{}].click()"
    browser.run(click.format(9))
    assert browser.run(values) == sorted(browser.run(values))
    browser.run(click.format(9))
    assert browser.run(values) == sorted(browser.run(values), reverse=True)
    assert browser.run("document.querySelector('th[aria-sort]').cellIndex") == 9
    browser.run(click.format(1))
    assert browser.run(names) == sorted(first)
    browser.run(click.format(0))
    assert browser.run(names) == first


def test_the_keyboard_is_enough(browser: Chromium, address: str, photo: Path) -> None:
    browser.open(f"{address}/")
    here = "(e => e.id || e.name || e.textContent.trim())(document.activeElement)"
    browser.press("Tab")
    assert browser.run(here) == "Skip to the content"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0  # visible once it has the focus
    browser.press("Enter")
    browser.press("Tab")
    assert browser.run(here) == "image"
    outline = "(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))"
    browser.choose("#image", photo)  # the dialogue for files is the system's own
    browser.until(WHOLE)
    browser.run("document.querySelector('#image').focus()")
    passed = []
    for _ in range(6):
        browser.press("Tab")
        passed.append(browser.run(here))
        assert browser.run(outline), passed[-1]
    assert passed[:5] == ["run", "map", "nearest", "stability", "Predict"]
    browser.run("document.querySelector('button[type=submit]').focus(); document.getElementById('answer').replaceChildren()")
    browser.press("Enter")
    browser.until(DECISION)
    browser.open(f"{address}/leaderboard")
    browser.run("document.querySelectorAll('.sortable thead button')[1].focus()")
    browser.press("Enter")
    assert browser.run("document.querySelector('th[aria-sort]').cellIndex") == 1


def test_without_scripts_the_form_is_enough(browser: Chromium, address: str, photo: Path) -> None:
    browser.look(1200, 900, script=False)
    browser.open(f"{address}/")
    browser.choose("#image", photo)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)  # only to press the button and to look
    browser.run("HTMLFormElement.prototype.submit.call(document.querySelector('form.upload'))")
    browser.until("document.querySelector('h2.decision') && location.pathname === '/'")
    assert browser.run("document.querySelectorAll('#answer > section').length") == 4
    assert browser.run("document.querySelector('.layer').complete")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_never_scrolls_sideways(browser: Chromium, address: str, photo: Path, dark: bool, tmp_path: Path) -> None:
    browser.look(390, 844, dark=dark, phone=True)
    browser.open(f"{address}/")
    browser.choose("#image", photo)
    browser.until(WHOLE)
    fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth === 390"
    assert browser.run(fits)
    assert browser.picture(tmp_path / "phone.png").stat().st_size > 10_000
    light = "(c => c[0] + c[1] + c[2] > 380)(getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert browser.run(light) is not dark
    for path in ("compare", "api", "leaderboard"):
        browser.open(f"{address}/{path}")
        assert browser.run(fits), path
    browser.open(browser.run("document.querySelector('a[href^=\"/runs/\"]').href"))
    assert browser.run(fits)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Chromium, address: str, photo: Path, dark: bool) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5 for every text color on both backgrounds."""
    browser.look(1200, 900, dark=dark)
    browser.open(f"{address}/")
    ratio = """(() => {
      const root = getComputedStyle(document.documentElement);
      const light = (name) => {
        const hex = root.getPropertyValue(name).trim();
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
      const found = {};
      for (const ink of ["--ink", "--muted", "--accent", "--good", "--bad"])
        for (const ground of ["--paper", "--raised"]) found[ink + ground] = contrast(ink, ground);
      found.button = contrast("--on-accent", "--accent");
      found.warn = contrast("--ink", "--warn");
      return found;
    })()"""
    assert not {name: value for name, value in browser.run(ratio).items() if value < 4.5}
