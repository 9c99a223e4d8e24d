"""An application whose server stands on a disk that fails: from the moment at which a file named in ``FAIL_FILE`` is
there, no sync of SQLite's log succeeds."""

import os
from pathlib import Path
from typing import Any

import apsw

from fairlane import Fairlane

app = Fairlane()


class FailingDisk(apsw.VFS):
    """The platform's own file layer."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("failing", self.base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> "FailingFile":
        """Open a file that fails when it is told to."""
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    """One of its files."""

    def __init__(self, disk: FailingDisk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)

    def xSync(self, flags: int) -> None:
        """Sync, unless the disk has failed."""
        if Path(os.environ["FAIL_FILE"]).exists():
            raise apsw.IOError("the disk did not take it")
        super().xSync(flags)


disk = FailingDisk()


@app.task("WORK")
async def work(payload: dict[str, Any]) -> dict[str, Any]:
    """Do nothing."""
    return {}
