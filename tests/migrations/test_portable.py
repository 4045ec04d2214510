"""Revisions that --autogenerate writes on one database run on the other: tables, dropped columns, enumerations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .models import add_model, add_settings, edit, revise, run_sql, steps
from .tree import Tree

THING = """
class Thing(Base):
    __tablename__ = "things"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=new_uuid())
    name: Mapped[str] = mapped_column(String(80), index=True)
    kind: Mapped[str] = mapped_column(enumeration("kind", "big", "small"), server_default="big")
    open: Mapped[bool] = mapped_column(server_default=false())
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    price: Mapped[Decimal] = mapped_column(ExactNumeric(6, 2), server_default=text("1.50"))
    parent: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("things.id"))
"""
SETTINGS = [
    'seats: Mapped[int] = mapped_column(BigInteger, server_default="70", doc="S.")',
    'price: Mapped[Decimal] = mapped_column(ExactNumeric(12, 2), server_default=text("9.90"), doc="P.")',
    'opened: Mapped[bool] = mapped_column(server_default=true(), doc="O.")',
    'at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now(), doc="T.")',
    'colour: Mapped[str] = mapped_column(enumeration("colour", "red", "green"), server_default="red", doc="C.")',
]
WATCH = [  # what SQLite's recreated table must not lose, nor stumble over
    "CREATE TABLE notes (text)",
    "CREATE TRIGGER watch AFTER UPDATE ON system_settings BEGIN INSERT INTO notes VALUES ('changed'); END",
    "CREATE TRIGGER look AFTER INSERT ON notes WHEN EXISTS (SELECT 1 FROM system_settings WHERE 0) BEGIN SELECT 1; END",
    "CREATE VIEW closed AS SELECT is_maintain FROM system_settings",
]


@pytest.fixture
def urls(sqlite_url: str, postgresql_url: str) -> dict[str, str]:
    """A migrated database of each kind."""
    return {"sqlite": sqlite_url, "postgresql": postgresql_url}


@pytest.fixture(params=["sqlite", "postgresql"])
def made_on(request: pytest.FixtureRequest, urls: dict[str, str]) -> str:
    return urls[request.param]


@pytest.fixture
def tree(make_tree: Callable[[str], Tree], made_on: str) -> Tree:
    """Its revisions are made on this database."""
    return make_tree(made_on)


def test_a_table_of_ones_own(tree: Tree, urls: dict[str, str]) -> None:
    extension = 'ALTER EXTENSION "uuid-ossp" SET SCHEMA extensions'  # where some platforms keep it
    run_sql(urls["postgresql"], "CREATE SCHEMA extensions", extension)
    add_model(tree, THING)
    text = revise(tree, "add things").read_text()
    assert "server_default=sql.new_uuid()" in text
    assert "dop_be" not in text.partition('"""\n\n')[2]
    tree.run("python", "-m", "migrations.lint")
    for url in urls.values():
        steps(tree, url, "upgrade", "check")
        run_sql(url, "INSERT INTO things (name) VALUES ('x')", "INSERT INTO things (name) VALUES ('y')")
        before = run_sql(url, "SELECT * FROM things")
        assert len({row[0] for row in before}) == 2
        steps(tree, url, "downgrade", "upgrade", "check")
        assert run_sql(url, "SELECT * FROM things") == before


def test_a_column_taken_out_of_the_model_is_put_back_as_it_was_added(tree: Tree, urls: dict[str, str]) -> None:
    add_settings(tree, *SETTINGS)
    revise(tree, "add settings")
    added, model = tree.head, (tree.path / "dop_be" / "settings" / "models.py").read_text()
    for url in urls.values():
        steps(tree, url, "upgrade")
    for column in SETTINGS:
        edit(tree, rf"^    {column.partition(':')[0]}: .*\n", "")
    dropping = revise(tree, "drop settings")
    assert "::" not in dropping.read_text()
    for url in urls.values():
        assert "seats" not in steps(tree, url, "upgrade", "check", "settings show", "downgrade", "upgrade", "downgrade")
    dropping.unlink()
    (tree.path / "migrations" / "head.txt").write_text(f"{added}\n")
    (tree.path / "dop_be" / "settings" / "models.py").write_text(model)
    for url in urls.values():
        shown = steps(tree, url, "check", "settings show").splitlines()
        values = dict(line.split(maxsplit=1) for line in shown if "  " in line)
        assert [values[name] for name in ("seats", "price", "opened", "colour")] == ["70", "9.90", "true", "red"]


def test_a_default_that_changes(tree: Tree, urls: dict[str, str]) -> None:
    add_settings(tree, *SETTINGS)
    revise(tree, "add settings")
    for url in urls.values():
        steps(tree, url, "upgrade")
    edit(tree, 'server_default="70"', 'server_default="80"')
    edit(tree, r"mapped_column\(server_default=true\(\), doc", "mapped_column(server_default=false(), doc")
    text = revise(tree, "change defaults").read_text()
    assert "::" not in text
    for url in urls.values():
        steps(tree, url, "upgrade", "check", "downgrade", "upgrade", "check")


class TestEnumerations:
    @pytest.fixture
    def coloured(self, tree: Tree, urls: dict[str, str]) -> Tree:
        """With the settings in both databases, and on SQLite a trigger and a view of theirs."""
        add_settings(tree, *SETTINGS)
        revise(tree, "add settings")
        for url in urls.values():
            steps(tree, url, "upgrade")
        run_sql(urls["sqlite"], *WATCH)
        return tree

    def test_a_value_added_makes_a_revision_that_runs_on_both(self, coloured: Tree, urls: dict[str, str]) -> None:
        edit(coloured, '"red", "green"', '"red", "green", "it\'s 5%: blue"')
        text = revise(coloured, "add blue").read_text()
        assert "op.add_column" not in text
        coloured.run("python", "-m", "migrations.lint")
        for url in urls.values():
            steps(coloured, url, "upgrade", "check", "downgrade", "upgrade", "check")
            coloured.run("flask", "settings", "set", "colour=it's 5%: blue", DATABASE_URL=url)
            with pytest.raises(Exception, match="ck_system_settings_colour"):
                run_sql(url, "UPDATE system_settings SET colour = 'pink'")
        assert run_sql(urls["sqlite"], "SELECT text FROM notes") == [("changed",)]
        assert run_sql(urls["sqlite"], "SELECT * FROM closed") == [(0,)]

    @pytest.mark.parametrize("made_on", ["postgresql"], indirect=True)
    def test_a_value_taken_away_makes_a_revision_that_fails_while_a_row_holds_it(
        self, coloured: Tree, urls: dict[str, str]
    ) -> None:
        edit(coloured, '"red", "green"', '"red"')
        revise(coloured, "remove green")
        for url in urls.values():
            run_sql(url, "UPDATE system_settings SET colour = 'green'")
            code, output = coloured.attempt("flask", "db", "upgrade", DATABASE_URL=url)
            assert code == 1
            assert "ck_system_settings_colour" in output
            assert "Traceback" not in output
            assert run_sql(url, "SELECT colour FROM system_settings") == [("green",)]
            run_sql(url, "UPDATE system_settings SET colour = 'red'")
            steps(coloured, url, "upgrade", "check", "downgrade", "upgrade", "check")


@pytest.mark.parametrize("made_on", ["sqlite"], indirect=True)
def test_a_default_that_only_one_database_knows_is_refused_in_one_line(tree: Tree) -> None:
    add_settings(tree, 'day: Mapped[str] = mapped_column(String(40), server_default=func.coalesce("a", "b"), doc="D.")')
    code, output = tree.attempt("flask", "db", "revision", "--autogenerate", "-m", "add day")
    assert code == 1
    assert "server_default" in output
    assert "Traceback" not in output
    assert list(Path(tree.path, "migrations", "versions").glob("*_add_day.py")) == []
