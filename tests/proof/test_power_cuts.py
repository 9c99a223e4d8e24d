"""A small share of the power cuts of ``make proof``, the control that loses, and the disk's own rules."""

import random

from tests.proof.disk import Cut, Disk, Event, Kind
from tests.proof.power_cuts import run

FILE = "fairlane.db"


def test_no_power_cut_loses_what_was_acknowledged() -> None:
    """Two recordings: one with the usual log, one with checkpoints (I1, I4)."""
    found = run(40, seed=0)
    found.add(run(40, seed=1))

    assert found.losses == []
    assert found.images == 80
    assert found.empty < 20


def test_a_store_that_syncs_less_is_caught() -> None:
    """The control: with ``synchronous = NORMAL`` a commit is not on disk when it is acknowledged."""
    found = run(40, seed=0, synchronous="NORMAL")

    assert len(found.losses) > 10


def a_disk(*events: Event) -> Disk:
    """The state after these."""
    disk = Disk()
    disk.replay(events)
    return disk


def test_what_was_synced_survives_and_the_rest_may_not() -> None:
    """A write behind the last sync is the cut's to keep or to drop."""
    disk = a_disk(
        Event(Kind.CREATE, FILE), Event(Kind.WRITE, FILE, 0, b"safe"), Event(Kind.SYNC, FILE),
        Event(Kind.WRITE, FILE, 0, b"new!"),
    )  # fmt: skip

    left = {disk.cut(how, strict=False, chance=random.Random(seed))[FILE] for how in Cut for seed in range(20)}

    assert left == {b"safe", b"new!"}
    assert disk.cut(Cut.NOTHING, strict=False, chance=random.Random(0)) == {FILE: b"safe"}


def test_sectors_of_one_write_are_torn_apart() -> None:
    """512 bytes reach the disk together, a page does not."""
    disk = a_disk(Event(Kind.CREATE, FILE), Event(Kind.WRITE, FILE, 256, b"x" * 1024))

    torn = [disk.cut(Cut.TORN, strict=False, chance=random.Random(seed))[FILE] for seed in range(20)]

    assert any(one[512:1024] == bytes(512) and one[1024:] == b"x" * 256 for one in torn)


def test_a_name_is_safe_once_its_folder_was_synced() -> None:
    """Until then a strict cut forgets a new file, and brings back one that was deleted."""
    created = [Event(Kind.CREATE, FILE), Event(Kind.WRITE, FILE, 0, b"x"), Event(Kind.SYNC, FILE)]
    named = [*created, Event(Kind.SYNC_FOLDER)]
    chance = random.Random(0)

    assert a_disk(*created).cut(Cut.NOTHING, strict=True, chance=chance) == {}
    assert a_disk(*named).cut(Cut.NOTHING, strict=True, chance=chance) == {FILE: b"x"}
    assert a_disk(*named, Event(Kind.DELETE, FILE)).cut(Cut.NOTHING, strict=True, chance=chance) == {FILE: b"x"}
    assert a_disk(*named, Event(Kind.DELETE, FILE)).cut(Cut.NOTHING, strict=False, chance=chance) == {}
