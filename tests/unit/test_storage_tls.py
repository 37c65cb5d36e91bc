"""What servers are verified with is read once for all connections, and again when it changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from airflow_provider_s3resume.storage._tls import tls_context
from tests.support.tls import make_certificate


def test_connections_share_what_they_are_verified_with(tmp_path: Path) -> None:
    """The same files are read once; other files, or none, are something else."""
    one, other = (make_certificate(tmp_path / name) for name in ("one", "other"))
    known = tls_context(str(one.ca_file))
    own = (str(one.cert_file), str(one.key_file))
    assert tls_context(str(one.ca_file)) is known
    assert tls_context(str(one.ca_file), own) is tls_context(str(one.ca_file), own)
    contexts = [known, tls_context(str(other.ca_file)), tls_context(None)]
    contexts.append(tls_context(str(one.ca_file), own))
    assert len({id(context) for context in contexts}) == 4
    assert [len(context.get_ca_certs()) for context in contexts] == [1, 1, 0, 1]


def test_authorities_that_were_replaced_are_read_again(tmp_path: Path) -> None:
    """A certificate that is not to be trusted any more is not, and a new one is."""
    one, other = (make_certificate(tmp_path / name) for name in ("one", "other"))
    place = tmp_path / "authorities.pem"
    shutil.copy(one.ca_file, place)
    before = tls_context(str(place))
    place.unlink()
    shutil.copy(other.ca_file, place)
    after = tls_context(str(place))
    (trusted,) = after.get_ca_certs(binary_form=True)
    assert trusted == tls_context(str(other.ca_file)).get_ca_certs(binary_form=True)[0]
    assert trusted != before.get_ca_certs(binary_form=True)[0]
    place.unlink()
    with pytest.raises(FileNotFoundError):
        tls_context(str(place))


def test_authorities_in_a_folder_are_not_kept(tmp_path: Path) -> None:
    """One that is taken out of it leaves no trace on the folder's own state."""
    assert tls_context(str(tmp_path)) is not tls_context(str(tmp_path))
