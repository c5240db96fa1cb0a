"""UWA3D: the order of the numbers is found from the bones, in every way that the file could hold them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.raw_others import stick_figure, write_uwa3d
from ssl_skel.data.clip import check_clip
from ssl_skel.data.layouts import NITE_15
from ssl_skel.data.readers.uwa3d import Uwa3dReader
from ssl_skel.errors import BadData, DataMissing

STORED = {
    "frames, joints, axes": lambda xyz: xyz,
    "frames, axes, joints": lambda xyz: xyz.swapaxes(1, 2),
    "joints, axes, frames": lambda xyz: xyz.transpose(1, 2, 0),
    "axes, joints, frames": lambda xyz: xyz.transpose(2, 1, 0),
    "frames, 45": lambda xyz: xyz.reshape(len(xyz), 45),
    "45 by axis, frames": lambda xyz: xyz.swapaxes(1, 2).reshape(len(xyz), 45).T,
}


def write(folder, name, xyz, stored=lambda xyz: xyz):
    return write_uwa3d(folder / f"{name}.mat", stored(xyz))


@pytest.mark.parametrize("frames", [40, 45, 15, 3])
@pytest.mark.parametrize("how", STORED)
def test_every_order_is_recognised(how, frames, tmp_path):
    xyz = stick_figure(frames)
    write(tmp_path, "a01_s01_e01_v02", stick_figure(60, 7), STORED[how])
    path = write(tmp_path, "a01_s02_e03_v04", xyz, STORED[how])
    (clip,) = Uwa3dReader().read(path)
    np.testing.assert_allclose(clip.xyz[0], xyz, atol=1e-6)
    assert (clip.name, clip.label, clip.subject, clip.repetition, clip.view) == ("a01_s02_e03_v04", 0, 2, 3, 4)
    check_clip(clip, NITE_15)


def test_one_file_alone_decides_by_its_own_bones(tmp_path):
    xyz = stick_figure(50)
    (clip,) = Uwa3dReader().read(write(tmp_path, "a30_s01_e01_v01", xyz, STORED["frames, axes, joints"]))
    np.testing.assert_allclose(clip.xyz[0], xyz, atol=1e-6)
    assert clip.label == 29


def test_millimetres_become_metres(tmp_path):
    path = write(tmp_path, "a01_s01_e01_v01", stick_figure(50, unit=1000))
    (clip,) = Uwa3dReader().read(path)
    np.testing.assert_allclose(clip.xyz[0], stick_figure(50), atol=1e-5)


def test_joints_at_zero_and_not_finite_are_invalid(tmp_path):
    xyz = stick_figure(50)
    xyz[3, 4], xyz[5, 6, 1] = 0, np.nan
    (clip,) = Uwa3dReader().read(write(tmp_path, "a01_s01_e01_v01", xyz))
    assert np.argwhere(~clip.valid[0]).tolist() == [[3, 4], [5, 6]]


def test_noise_is_refused_as_no_skeleton(tmp_path):
    path = write(tmp_path, "a01_s01_e01_v01", np.random.default_rng(0).normal(size=(50, 15, 3)))
    for _ in range(2):
        with pytest.raises(BadData, match=r"a01_s01_e01_v01\.mat: no order .* constant length"):
            list(Uwa3dReader().read(path))


def test_a_person_who_never_moves_decides_nothing(tmp_path):
    path = write(tmp_path, "a01_s01_e01_v01", np.repeat(stick_figure(1), 20, axis=0))
    with pytest.raises(BadData, match="as constant in one order"):
        list(Uwa3dReader().read(path))


@pytest.mark.parametrize(("values", "dataset", "message"), [
    (np.zeros((20, 15, 3)), "B", r"no dataset 'A' \(there is B\)"),
    (np.zeros((20, 14, 3)), "A", r"shape \(20, 14, 3\) is not 45 numbers a frame"),
    (np.zeros((900,)), "A", "is not 45 numbers a frame"),
    (np.zeros((30_000, 45)), "A", "30000 frames, more than 20000"),
    (np.array([[b"x"] * 45]), "A", "holds no numbers"),
])
def test_other_content(values, dataset, message, tmp_path):
    with pytest.raises(BadData, match=message):
        list(Uwa3dReader().read(write_uwa3d(tmp_path / "a01_s01_e01_v01.mat", values, dataset)))


def test_a_shape_unlike_the_others_is_refused(tmp_path):
    for number in range(1, 6):
        write(tmp_path, f"a01_s01_e0{number}_v01", stick_figure(40, number))
    path = write(tmp_path, "a01_s01_e06_v01", stick_figure(40), STORED["joints, axes, frames"])
    with pytest.raises(BadData, match=r"shape \(15, 3, 40\) differs"):
        list(Uwa3dReader().read(path))
    assert list(Uwa3dReader().read(path.with_name("a01_s01_e02_v01.mat")))


def test_an_unknown_action(tmp_path):
    with pytest.raises(BadData, match="action 31 is not one of 1 to 30"):
        list(Uwa3dReader().read(write(tmp_path, "a31_s01_e01_v01", stick_figure(40))))


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"x" * 4096])
def test_files_that_are_not_hdf5(content, tmp_path):
    path = tmp_path / "a01_s01_e01_v01.mat"
    path.write_bytes(content)
    with pytest.raises(BadData, match="not a whole MATLAB"):
        list(Uwa3dReader().read(path))


def test_discover(tmp_path):
    (tmp_path / "ActionsSkeleton").mkdir()
    with pytest.raises(DataMissing, match="no UWA3D files"):
        Uwa3dReader().discover(tmp_path)
    write(tmp_path / "ActionsSkeleton", "a01_s01_e01_v01", stick_figure(10))
    (tmp_path / "a01_s01_v01_e01.mat").write_bytes(b"an RGB file, named in the other order")
    assert [path.stem for path in Uwa3dReader().discover(tmp_path)] == ["a01_s01_e01_v01"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("uwa"), "a01_s01_e01_v01", stick_figure(30)).read_bytes()


@given(data=st.data())
@settings(max_examples=120, deadline=5000)
def test_cut_and_mutated_files_give_a_clip_or_bad_data(data, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "a01_s01_e01_v01.mat"
    content = bytearray(whole[:data.draw(st.integers(len(whole) // 2, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        # The first 3 kB behind the text header hold the structure of the file, the rest its numbers.
        content[data.draw(st.integers(512, 3512))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    path.write_bytes(content)
    try:
        (clip,) = Uwa3dReader().read(path)
        assert clip.xyz.shape[0] == 1
        assert clip.xyz.shape[2:] == (15, 3)
        assert np.isfinite(clip.xyz[clip.valid]).all()
    except BadData as error:
        assert "a01_s01_e01_v01.mat" in str(error)  # noqa: PT017
