"""What each run of one process begins with, made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import processes
from ..conftest import migrate
from ..migrations.models import add_settings, revise
from ..migrations.tree import Tree, copied
from ..postgres import Cluster, execute

DATABASE = "platform"
RELEASE = 'release: Mapped[str | None] = mapped_column(String(100), doc="Which release is out.", info=PUBLIC)'


class Cloned(Cluster):
    """A server whose data folder is a copy of one that is migrated already."""

    def __init__(self, template: Path, **settings: str) -> None:
        self._template = template
        super().__init__(**settings)

    def _fill(self) -> None:
        processes.run(["cp", "-a", self._template, self._data])


@dataclass(frozen=True)
class Template:
    """What each run begins with: the data folder of a stopped server with a migrated database, and the project.

    The project is a copy with one setting more, RELEASE: restore and undo leave the switch's own fields alone.
    """

    data: Path
    project: Path

    def migrate(self, url: str) -> None:
        Tree(self.project, url).run("flask", "db", "upgrade")


@contextmanager
def template() -> Iterator[Template]:
    """Make a template for the block."""
    cluster = Cluster(max_connections="40")
    try:
        cluster.start()
        execute(cluster.url(), f"CREATE DATABASE {DATABASE}")
        tree = Tree(copied(processes.folder("template") / "dop_be"), cluster.url(DATABASE))
        tree.path.parent.chmod(0o755)
        migrate(tree.url)
        add_settings(tree, RELEASE)
        revise(tree, "add release")
        made = Template(cluster._data, tree.path)
        made.migrate(tree.url)
        cluster.stop()
        yield made
    finally:
        cluster.remove()
