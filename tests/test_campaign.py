"""A few rounds of the kill campaign; `python tests/campaign.py --rounds 100` runs more."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign import Campaign


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("processes", "kills", "records"), [(1, 3, 12), (2, 1, 4)])
def test_a_few_kills_change_no_record(tmp_path: Path, processes: int, kills: int, records: int) -> None:
    campaign = Campaign(tmp_path, seed=1, processes=processes)
    campaign.run(kills)
    report = campaign.report()
    assert report["kills"] == kills
    assert not report["problems"]
    assert report["records"] >= records
