from PIL import Image

from analysis.sheet import Row, sheet


def test_each_picture_stands_in_its_row_and_column_and_a_missing_one_leaves_a_gap(tmp_path):
    red, blue = tmp_path / "red.png", tmp_path / "blue.png"
    Image.new("RGB", (64, 64), "red").save(red)
    Image.new("RGB", (32, 64), "blue").save(blue)
    page = sheet(
        [Row("epoch 1", [red, tmp_path / "gone.png"]), Row("epoch 2", [blue, red])],
        ["a fox", "a very long prompt that has to be wrapped"],
        side=64,
    )
    left, right, top, below = (
        page.width - 2 * 70,
        page.width - 70,
        page.height - 140,
        page.height - 70,
    )
    assert page.getpixel((left + 30, top + 30)) == (255, 0, 0)
    assert page.getpixel((right + 30, top + 30)) == (255, 255, 255)
    assert page.getpixel((left + 10, below + 30)) == (0, 0, 255)
    assert page.getpixel((right + 30, below + 30)) == (255, 0, 0)
