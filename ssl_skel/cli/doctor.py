"""``ssl-skel doctor``: what this machine and installation can do, and what is missing."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import click

from ssl_skel.cli import options


@click.command()
@options.data_root
@options.out
@options.plugins
@options.as_json
def doctor(data_root: Path, out: Path, plugin_paths: tuple[str, ...], as_json: bool) -> None:
    """Check the installation: packages, device, precision, plugins, datasets, disk."""
    findings = list(_findings(data_root, out, plugin_paths))
    if as_json:
        click.echo(json.dumps([{"what": w, "state": s, "detail": d} for w, s, d in findings], indent=1))
    else:
        from rich import box
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE)
        for column in ("what", "state", "detail"):
            table.add_column(column, overflow="fold")
        for row in findings:
            table.add_row(*map(escape, row))
        Console().print(table)
    if any(state == "broken" for _, state, _ in findings):
        raise SystemExit(1)


def _findings(data_root: Path, out: Path, plugin_paths: tuple[str, ...]) -> list[tuple[str, str, str]]:
    from ssl_skel.bench.provenance import environment
    from ssl_skel.registry import discover

    env: dict[str, Any] = environment()
    rows = [("machine", "ok", f"{env['cpu']}, {env['cores']} cores, {env['memory_mb'] / 1000:.0f} GB"),
            ("python", "ok", f"{env['python']} on {env['platform']}"),
            ("packages", "ok", ", ".join(f"{k} {v}" for k, v in env["packages"].items()))]
    rows += _torch()
    fast = importlib.util.find_spec("numba") is not None
    rows.append(("extra 'fast'", "ok" if fast else "absent", "numba kernels on the CPU" if fast else
                 "pip install 'ssl-skel[fast]' for faster CPU kernels"))
    catalogue = discover(plugin_paths)
    rows.append(("plugins", "ok", ", ".join(catalogue.names("plugins"))))
    rows += [(f"{entry.kind[:-1]} {entry.name}", "broken", entry.error) for entry in catalogue.broken]
    rows += [_dataset(name, data_root) for name in catalogue.names("datasets")]
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    rows.append(("disk", "ok", f"{shutil.disk_usage(place).free / 1e9:.0f} GB free at {place}"))
    return rows


def _torch() -> list[tuple[str, str, str]]:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    bf16 = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return [("threads", "ok", f"{torch.get_num_threads()}; bf16 products on the CPU: {'yes' if bf16 else 'emulated'}"),
            ("cuda", "ok" if cuda else "absent", ", ".join(cuda) or "everything runs on the CPU")]


def _dataset(name: str, data_root: Path) -> tuple[str, str, str]:
    meta = data_root / name / "meta.json"
    if meta.is_file():
        return f"dataset {name}", "prepared", str(meta.parent)
    made = name.startswith("synthetic")
    return f"dataset {name}", "made on use" if made else "absent", "" if made else (
        f"ssl-skel data show {name} says where to get it; then ssl-skel data prepare {name} --raw DIR")
