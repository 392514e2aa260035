"""Tables for people, JSON for programs."""

import datetime
import json
import os
import platform

COLUMNS = ["backing", "volumes", "vdisk", "qemu"]


def machine():
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "kernel": platform.release(), "cores": os.cpu_count()}


def print_io_table(place, rows):
    """rows: job title, unit, figures by column, and what is said of a goal.

    The ratios are the virtual disk's, or the file's where there is none.
    """
    print(f"\n{place}")
    print(f"  {'':42} {'backing':>10} {'volumes':>10} {'vdisk':>10} {'qemu':>10}   {'/backing':>9} {'/qemu':>9}   goal")
    for title, unit, figures, verdict in rows:
        cells = " ".join(f"{_short(figures.get(column)):>10}" for column in COLUMNS)
        ours = figures.get("vdisk") or figures.get("volumes")
        print(f"  {title + ' ' + unit:42} {cells}   {_ratio(ours, figures.get('backing')):>9} "
              f"{_ratio(ours, figures.get('qemu')):>9}   {verdict}")


def print_table(title, columns, rows):
    """rows: name and one text per column."""
    print(f"\n{title}")
    print(f"  {'':24} " + " ".join(f"{column:>24}" for column in columns))
    for name, cells in rows:
        print(f"  {name:24} " + " ".join(f"{cell:>24}" for cell in cells))


def write_json(path, results):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    print(f"\nall figures: {path}")


def _short(value):
    if value is None:
        return "-"
    return f"{value / 1000:.1f} k" if value >= 10_000 else f"{value:.0f}"


def _ratio(value, base):
    return f"{value / base:.2f}" if value and base else "-"
