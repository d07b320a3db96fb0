"""From --home and --config to an open database. A command opens the same database as the server, beside it or without it."""

from pathlib import Path

from millrace import schema
from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.settings.home import Home
from millrace.settings.parse import FILE_NAME, Store, parse_settings
from millrace.store.database import Database


def open_database(home_path: Path, config: Path | None, *, make: bool) -> Database:
    """Open and migrate the database. Without `make` a home that has none is refused, so that a mistyped --home is noticed."""
    place = database_place(home_path, config)
    if not make and not is_there(place):
        raise Refusal(
            Reason.NOT_FOUND,
            f"there is no cloud in {home_path} yet; 'millrace up --home {home_path}' makes one, or name another with --home",
        )
    Home(home_path)
    return schema.open_database(place)


def database_place(home_path: Path, config: Path | None) -> Path | str:
    """Where the database of a home is, or would be: its file, or its URL."""
    return _store(home_path, config).place(home_path.absolute())


def is_there(place: Path | str) -> bool:
    """Whether there is a database to open. One that settings name by a URL was made by whoever wrote them."""
    return isinstance(place, str) or place.is_file()


def _store(home_path: Path, config: Path | None) -> Store:
    """Where the database is. No weights are looked at: a missing model file must not keep an invoice from being shown."""
    file = config or home_path / FILE_NAME
    if config is None and not file.exists():
        return Store()
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise Refusal(Reason.BAD_SETTING, f"the settings {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refusal(Reason.BAD_SETTING, f"the settings {file} are not UTF-8 (byte {error.start})") from None
    return parse_settings(text, where=str(file), folder=file.parent, bundled_model=_stand_in).store


def _stand_in() -> Model:
    return Model(name="millrace-tiny", engine="embedded", context_tokens=1024, max_output_tokens=512, slots=1)
