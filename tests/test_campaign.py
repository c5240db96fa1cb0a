"""A few rounds of the kill campaign; `python tests/campaign.py --rounds 100` runs more."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign import Campaign


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_kills_change_no_record(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=1)
    campaign.run(3)
    report = campaign.report()
    assert report["kills"] == 3
    assert not report["problems"]
    assert report["records"] >= 12
