"""`millrace export` and `millrace retention`, and what they leave to see."""

import pytest
from tests.cli.conftest import Cli

from millrace.cli.keeping import keep
from millrace.gateway.nightly import Place
from millrace.gateway.upkeep import Report, Task
from millrace.money.retention import store
from millrace.store.sqlite_database import SqliteDatabase

FILE = "usage-000000000000001.parquet"


@pytest.fixture
def served(acme: Cli) -> Cli:
    """With two requests of acme."""
    acme.serve("acme")
    acme.serve("acme")
    return acme


def test_export_run_and_list(served: Cli) -> None:
    """What is new goes into a file, whose line says what is in it; nothing new makes no file."""
    (made,) = served.json("export", "run")["exports"]
    assert (made["file"], made["requests"], made["tokens"], made["amounts"]) == (FILE, 2, 3000, {"CNY": "0.003600000"})
    assert (served.home / "exports" / FILE).stat().st_size == made["bytes"]
    assert served.json("export", "list")["exports"] == [made]
    assert served.text("export", "run") == "There is no new usage.\n"
    assert served.text("export", "list").splitlines()[1].split()[:4] == [FILE, "2", "3000", "0.003600000"]


def test_export_verify(served: Cli) -> None:
    """Sound files are counted; one that was changed is named, with exit code 1."""
    served.text("export", "run")
    assert served.json("export", "verify") == {"ok": True, "checked": 1, "disagreements": {}}
    path = served.home / "exports" / FILE
    path.write_bytes(path.read_bytes() + b"x")
    result = served.run("export", "verify")
    assert (result.exit_code, result.stdout) == (1, "0 of 1 files are as they were written.\n")
    assert f"{path} is not the file that was exported" in result.stderr


def test_the_folder_is_a_setting(served: Cli) -> None:
    """An absolute folder is taken as it is."""
    folder = served.home.parent / "elsewhere"
    with (served.home / "millrace.toml").open("a") as file:
        file.write(f'\n[retention]\nfolder = "{folder}"\n')
    served.text("export", "run")
    assert (folder / FILE).is_file()


def test_retention_wants_its_setting(served: Cli) -> None:
    """Without usage_days nothing is deleted, and the sentence names the setting."""
    assert "set usage_days under [retention]" in served.refused("retention", "run")


def test_retention_keeps_the_running_month(served: Cli) -> None:
    """What is served today is exported and stays."""
    with (served.home / "millrace.toml").open("a") as file:
        file.write("\n[retention]\nusage_days = 1\n")
    assert served.json("retention", "run") == {"requests": 0, "files": [], "kept": None}
    assert served.text("retention", "run") == "0 requests were deleted; they are in 0 files.\n"
    assert len(served.json("export", "list")["exports"]) == 1


def test_the_server_s_process_does_the_same(served: Cli) -> None:
    """The task of the daily upkeep exports what is new and says so."""
    task = Task(Place(file=str(served.home / "millrace.db")), str(served.home / "exports"), 1)
    assert keep(task) == Report(exported=1, dropped=0)
    assert keep(task) == Report(exported=0, dropped=0)


def test_a_receipt_of_an_archived_request(served: Cli) -> None:
    """It is told from one that never was: the sentence names the file."""
    request_id = served.serve("acme")
    served.text("export", "run")
    database = SqliteDatabase(served.home / "millrace.db")
    (export,) = database.read(store.exports)
    database.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv_1'"))
    database.write_now(lambda tx: store.begin_drop(tx, export, 0))
    assert database.write_now(lambda tx: store.drop(tx, export, 0, 10)) == 3
    database.close()
    assert served.refused("receipt", request_id) == (
        f"the usage of {request_id} is archived: its row is in the file {FILE}, no longer here"
    )
    assert served.json("usage", "--tenant", "acme")["rows"][0]["requests"] == 3
