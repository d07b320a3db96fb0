from pathlib import Path

from millrace.tuning.trainer import checkpoints
from millrace.tuning.trainer.checkpoints import Seal


def write(folder: Path, step: int, text: str = "weights") -> Path:
    """A sealed checkpoint of that step with two files."""
    partial = folder / f"writing{checkpoints.PARTIAL}"
    (partial / "deep").mkdir(parents=True)
    (partial / "a.bin").write_text(text)
    (partial / "deep" / "b.bin").write_text(text * 2)
    return checkpoints.sealed(partial, checkpoints.place(folder, step), fingerprint="f", step=step, tokens=step * 10)


def test_a_sealed_folder_is_whole_under_its_name(tmp_path: Path) -> None:
    """After sealing nothing is left at the place where it was written, and the seal says step and tokens."""
    path = write(tmp_path, 5)
    seal = checkpoints.whole(path)
    assert isinstance(seal, Seal)
    assert (seal.step, seal.tokens, seal.fingerprint) == (5, 50, "f")
    assert [file.name for file in seal.files] == ["a.bin", "deep/b.bin"]
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-00000005"]


def test_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    """The one with the most steps; of numbers, not of names that sort by length."""
    write(tmp_path, 9)
    write(tmp_path, 10)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.seal.step == 10
    assert checkpoints.newest(tmp_path / "nothing") is None


def test_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    """A byte that rotted, a file that is missing, a seal that was torn: the one before is taken."""
    write(tmp_path, 1)
    for step, damage in ((2, "rot"), (3, "missing"), (4, "torn")):
        path = write(tmp_path, step)
        if damage == "rot":
            (path / "a.bin").write_text("weighty")
        elif damage == "missing":
            (path / "a.bin").unlink()
        else:
            (path / "millrace.json").write_text("{")
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.seal.step == 1


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    """A folder that was being written is no checkpoint, and goes at the next start."""
    (tmp_path / "writing.partial" / "checkpoint-7").mkdir(parents=True)
    assert checkpoints.newest(tmp_path) is None
    checkpoints.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    """The newest and one more."""
    for step in (1, 2, 3, 12):
        write(tmp_path, step)
    checkpoints.forget_older(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000003", "checkpoint-00000012"]


def test_sealing_again_replaces(tmp_path: Path) -> None:
    """The same step written anew, as after a resume, takes the place of the old."""
    write(tmp_path, 1, "old")
    path = write(tmp_path, 1, "new")
    assert (path / "a.bin").read_text() == "new"
    assert checkpoints.whole(path) is not None
