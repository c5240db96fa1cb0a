"""Names of clips stand in files, tables, pages and terminals, so they hold nothing that any of these takes for more."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import BadData

LAYOUT = get_layout("nite_15")


def check(name: str) -> None:
    check_clip(RawClip(name, np.ones((1, 2, 15, 3), np.float32), np.ones((1, 2, 15), bool), 0, 1), LAYOUT)


@pytest.mark.parametrize("name", ["a01_s01_e00_v01", "S001C001P001R001A001", "0291-L_003", "s01s02_01_001", "x", "a b",
                                  "clip.npz", "v3 (left)", "_1"])
def test_names_of_the_field(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "../../tmp/pwn", "a..b", "/etc/passwd", "a/b", "a\\b",
                                  "a,b", 'a"b', "a'b", "=cmd()", "-rf", "a&b", "a;b", "a\nb", "\x1b[31m", "", "\u202ea",
                                  "$(x)", "`x`", "a" * 41])
def test_names_that_are_more_than_names(name: str) -> None:
    with pytest.raises(BadData, match="clip name") as found:
        check(name)
    assert found.value.format_message().isprintable()
