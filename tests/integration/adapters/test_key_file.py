"""The vault's key file: made once, for its owner only, whatever races; and the `.env` file."""

import multiprocessing
import os
import stat
import sys
from pathlib import Path

import pytest

from connectors.adapters.aesgcm import KeyRing
from connectors.adapters.system.key_file import KEY_FILE_NAME, ensure_vault_keys, resolve_key_ring
from connectors.adapters.system.settings import load_settings, read_dotenv, read_settings
from connectors.domain.model.errors import SettingsError


def test_the_file_is_made_once_and_kept(tmp_path):
    """The first call makes a ring of one key in a folder of its own, the second reads the same."""
    data_dir = tmp_path / "new" / "folder"
    first, second = ensure_vault_keys(data_dir), ensure_vault_keys(data_dir)
    assert first.reveal() == second.reveal()
    assert len(KeyRing.parse(first.reveal()).ids) == 1
    assert [path.name for path in data_dir.iterdir()] == [KEY_FILE_NAME]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_owner_may_read_it(tmp_path):
    """The mode is 0600 whatever the umask."""
    before = os.umask(0)
    try:
        ensure_vault_keys(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / KEY_FILE_NAME).stat().st_mode) == 0o600


def _report_key(arguments):
    directory, barrier = arguments
    barrier.wait(30)
    return ensure_vault_keys(Path(directory)).reveal()


def test_processes_that_start_at_once_agree(tmp_path):
    """Four processes that race for the first start all get the same keys."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(4) as pool:
        barrier = manager.Barrier(4)
        keys = pool.map(_report_key, [(str(tmp_path), barrier)] * 4, chunksize=1)
    assert len(set(keys)) == 1
    assert KeyRing.parse(keys[0]).ids


def test_a_place_that_cannot_be_written_gives_one_line(tmp_path):
    """A data directory that is a file is reported with its path and what to do."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(SettingsError) as caught:
        ensure_vault_keys(in_the_way)
    assert str(in_the_way) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_damaged_file_is_reported_and_left_alone(tmp_path):
    """A file that is no key ring is an error: making a new one would lose every secret."""
    (tmp_path / KEY_FILE_NAME).write_text("local-1:hunter2\n")
    settings = read_settings({"POBLYSH_DATA_DIR": str(tmp_path)}, ())
    with pytest.raises(SettingsError, match="damaged") as caught:
        resolve_key_ring(settings.service)
    assert "hunter2" not in caught.value.message
    assert (tmp_path / KEY_FILE_NAME).read_text() == "local-1:hunter2\n"


def test_the_embedded_database_gets_the_files_keys(tmp_path):
    """Without a database URL and without keys the ring is that of the data directory."""
    settings = read_settings({"POBLYSH_DATA_DIR": str(tmp_path)}, ())
    assert resolve_key_ring(settings.service).ids == KeyRing.parse(ensure_vault_keys(tmp_path).reveal()).ids


def test_the_env_file_is_read_under_the_environment(tmp_path, monkeypatch):
    """The `.env` file of the directory fills what the environment leaves open, without expanding `$`."""
    (tmp_path / ".env").write_text(
        "POBLYSH_BIND=127.0.0.1:1\nexport POBLYSH_OPERATOR_TOKEN='a$HOME${X}b'\nPOBLYSH_LOG_LEVEL\n"
    )
    for name in [name for name in os.environ if name.startswith("POBLYSH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POBLYSH_BIND", "127.0.0.1:2")
    settings = load_settings((), tmp_path)
    assert settings.service.bind.port == 2
    assert settings.operators.authenticate("a$HOME${X}b") is not None


def test_no_env_file_is_no_error(tmp_path):
    """Without the file there is nothing in it; one that is not text gives one line."""
    assert read_dotenv(tmp_path / ".env") == {}
    (tmp_path / ".env").write_bytes(b"POBLYSH_BIND=\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_dotenv(tmp_path / ".env")
