"""Clouds, sheets, audits and the page: what is drawn, and that the same input gives the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ssl_skel.data.audit.run import audit_dataset
from ssl_skel.data.dataset import open_dataset
from ssl_skel.errors import OutputError, UsageMistake
from ssl_skel.view import output, style
from ssl_skel.view.audit import draw_audit
from ssl_skel.view.cloud import draw_cloud
from ssl_skel.view.colours import colour_streams
from ssl_skel.view.curves import Curves, draw_curves
from ssl_skel.view.legends import legend_of
from ssl_skel.view.page import content, render_page
from ssl_skel.view.scene import load_batch, make_scene
from ssl_skel.view.sheet import draw_sheet


def scene_of(name, position):
    dataset = open_dataset(name)
    return make_scene(name, dataset, position, load_batch(dataset, position, frames=10))


@pytest.fixture(scope="module")
def alone():
    return scene_of("synthetic", 3)


@pytest.fixture(scope="module")
def together():
    store = open_dataset("synthetic-2p").store
    return scene_of("synthetic-2p", int(np.flatnonzero(store.index["num_tracks"] == 2)[0]))


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def test_a_cloud_shows_every_stream(alone, together):
    with style.styled():
        assert titles(draw_cloud(alone)) == ["Skeleton cloud", "Temporal", "Spatial", "Skeletons", "Temporal, coarse",
                                             "Spatial, coarse"]
        assert titles(draw_cloud(together))[3:] == ["Person", "Skeletons", "Temporal, coarse", "Spatial, coarse",
                                                    "Persons, from above"]


def test_points_have_the_colours_of_the_method(alone):
    with style.styled():
        temporal = next(axes for axes in draw_cloud(alone).axes if axes.get_title(loc="left") == "Temporal")
    points = temporal.collections[-1]
    assert len(points.get_offsets()) == int(alone.valid.sum())
    drawn = {tuple(rgb) for rgb in np.round(points.get_facecolors()[:, :3], 4)}
    u = np.arange(1, 11) / 10
    red, blue = np.maximum(0, 1 - 2 * u), np.maximum(0, 2 * u - 1)
    assert drawn == {tuple(rgb) for rgb in np.round(np.stack([red, 1 - red - blue, blue], 1), 4)}


def test_axes_have_equal_scales(alone):
    with style.styled():
        figure = draw_cloud(alone)
    width, height = figure.get_size_inches()
    for axes in figure.axes[:2]:
        place = axes.get_position()
        across = np.diff(axes.get_xlim())[0] / (place.width * width)
        up = np.diff(axes.get_ylim())[0] / (place.height * height)
        assert across == pytest.approx(up)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_picture_has_the_same_bytes(alone, tmp_path, kind):
    paths = []
    for number in range(2):
        with style.styled():
            paths.append(output.save(draw_cloud(alone), tmp_path / f"{number}" / f"cloud.{kind}", "A cloud"))
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"A cloud" in first
    assert not re.search(rb"20\d\d-\d\d-\d\d", first)


def test_a_picture_is_not_blank(alone, tmp_path):
    with style.styled():
        path = output.save(draw_cloud(alone), tmp_path / "cloud.png", "A cloud")
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    vivid = pixels.max(axis=1) - pixels.min(axis=1) > 120
    assert 0.001 < vivid.mean() < 0.5


@pytest.mark.parametrize("name", ["cloud.jpg", "cloud", "cloud.pdf"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(UsageMistake, match=r"written as .png, .svg"):
        output.picture_path(tmp_path / name, "cloud")


def test_a_folder_is_no_picture_and_a_file_no_folder(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageMistake, match="is a folder"):
        output.picture_path(tmp_path / "a.png", "cloud")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where"):
        output.write(tmp_path / "file" / "a.png", b"")


def test_default_names_stay_in_the_folder():
    assert str(output.picture_path(None, "cloud", "nw-ucla", "../../etc/x y")) == "cloud-nw-ucla-..-..-etc-x-y.png"


def test_legends_name_parts_and_ends(together):
    found = {stream.name: legend_of(stream, together.layout)
             for stream in colour_streams(together.layout, 10)}
    assert found["temporal"].names == ("first frame", "last frame")
    assert found["spatial"].names == ("base of spine", "right thumb")
    assert found["spatial-coarse"].names == ("torso", "left arm", "right arm", "left leg", "right leg")
    assert found["person"].rgb.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_page_holds_the_clip_and_no_markup_of_its_name(together):
    evil = '</script><script>alert(1)</script>'
    page = render_page(replace(together, clip=evil, action=f"<b>{evil}", dataset="a&b"))
    assert "<script>alert" not in page
    assert "&lt;/script&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|src=|href=|@import|url\(", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert np.allclose(np.array(data["xyz"]).reshape(together.xyz.shape) / 1000, together.xyz, atol=6e-4)
    assert data["valid"].count("1") == int(together.valid.sum())


def test_colours_of_the_page_are_those_of_the_method(together):
    streams = colour_streams(together.layout, 10)
    data = json.loads(content(together, streams))
    for stream in streams:
        sent = data["streams"][stream.name]
        rgb = np.array([[int(sent["table"][i][at:at + 2], 16) for at in (1, 3, 5)] for i in sent["which"]])
        assert np.abs(rgb / 255 - stream.rgb.reshape(-1, 3)).max() <= 0.5 / 255 + 1e-6


def test_a_sheet_has_a_row_a_class_and_an_audit_its_splits():
    dataset = open_dataset("synthetic-2p")
    with style.styled():
        sheet = draw_sheet("synthetic-2p", dataset, 2)
        assert len(sheet.axes) == 2 * len(dataset.card.classes)
        words = [text.get_text() for text in sheet.texts]
        assert set(dataset.card.classes) <= set(words)
        report = audit_dataset("synthetic-2p", dataset)
        figure = draw_audit(report, dataset)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{split['name']} ({split['test']:,} test)" for split in report["splits"]]


def test_an_audit_shows_copies():
    dataset = open_dataset("synthetic")
    report = audit_dataset("synthetic", dataset)
    names = dataset.store.names
    report["splits"][0]["duplicates"] = {"test_clips": 36, "pairs": [[names[0], names[5]]]}
    with style.styled():
        figure = draw_audit(report, dataset)
    test = report["splits"][0]["test"]
    assert figure.axes[0].patches[0].get_width() == pytest.approx(100 * 36 / test)
    words = [text.get_text() for text in figure.texts]
    assert names[0] in words
    assert "its training copy" in words


def overflow(figure):
    """Texts of a figure that leave it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    right = figure.bbox.width
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return [text.get_text() for text in texts if text.get_window_extent(renderer).x1 > right]


def test_an_audit_tells_its_checks_in_full_and_inside_the_picture():
    dataset = open_dataset("synthetic")
    report = audit_dataset("synthetic", dataset)
    long = "by where the feet point, left and right are exchanged (share of the frames, of those with both feet $)"
    report["checks"] = [{"name": f"check-{count}", "what": long, "flagged": count, "worst": []} for count in (71, 2, 7)]
    with style.styled():
        figure = draw_audit(report, dataset)
        assert overflow(figure) == []
    told = [text.get_text().replace("\n", " ") for text in figure.axes[1].texts]
    assert told == [f"{count}: {long}".replace("$", r"\$") for count in (71, 2, 7)]


def test_what_curves_say_of_their_run_is_its_name_and_stays_inside(tmp_path):
    run = tmp_path / "a-run-of-mine"
    steps = np.arange(9.0)
    curves = Curves("simclr", "", steps, steps, steps + 1, {"loss": steps})
    with style.styled():
        figure = draw_curves([curves], run)
        assert overflow(figure) == []
    (told,) = [text.get_text() for text in figure.texts if "smoothed" in text.get_text()]
    assert told.startswith("a-run-of-mine; ")
    assert str(tmp_path) not in told


def test_text_is_wrapped_between_words():
    assert style.wrap("a few words", 3.0) == "a few words"
    assert style.wrap("frozen encoders of colorization (dgcnn), a decoder trained", 2.0) == (
        "frozen encoders of colorization\n(dgcnn), a decoder trained")
    assert style.wrap("x" * 200, 1.0) == "x" * 200
    assert style.wrap("", 1.0) == ""
