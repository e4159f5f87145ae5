"""Full-size models from the hub, with one clear sentence for whatever can go wrong.

huggingface_hub does the work: a lost connection goes on where it broke off, a stopped download keeps the
files it has finished, and the cache is shared with diffusers. Its environment variables hold too: HF_HOME
moves the cache, HF_ENDPOINT names a mirror, HF_TOKEN logs in, HF_HUB_OFFLINE=1 stays off the net.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.models.catalogue import Model, find


def fetch(name: str) -> Path:
    """Download what the course uses of a model into the hub's cache; what is there already is kept.

    Returns:
        The snapshot's folder, in the repository's own layout.

    Raises:
        LessonError: unknown name, no connection, gated, vanished, no room on the disk.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    row = find(name)
    wanted = {
        "revision": row.revision,
        "allow_patterns": row.allow_patterns,
        "ignore_patterns": row.ignore_patterns,
    }
    with clear_errors(row):
        try:
            plan = snapshot_download(row.hub, **wanted, dry_run=True)
        except DryRunError:
            plan = []  # the hub cannot be asked; the cache may still have everything
        _check_room(row, sum(f.file_size or 0 for f in plan if f.will_download))
        folder = Path(snapshot_download(row.hub, **wanted))
    if not any(folder.rglob("*.safetensors")):
        raise LessonError(
            f"{row.hub} no longer has the weight files that '{name}' is made of: its owner has changed it. "
            "Set LESSON_TIER=tiny to go on with the tiny models."
        )
    return folder


@contextmanager
def clear_errors(row: Model) -> Iterator[None]:
    """Turn what hub calls raise in this block into a LessonError about `row`."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise LessonError(
            f"{row.hub} is gated: accept its terms at https://huggingface.co/{row.hub}, "
            "then run `hf auth login`."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.DisabledRepoError) as error:
        raise LessonError(
            f"{row.hub} ('{row.name}') is not on the hub any more, or it is private: "
            "set LESSON_TIER=tiny to go on with the tiny models, or HF_ENDPOINT to a mirror that has it."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise LessonError(
            f"The hub cannot be reached and {row.hub} is not whole in the cache: "
            "go online (HF_HUB_OFFLINE off, HF_ENDPOINT right) and run it again, or set LESSON_TIER=tiny."
        ) from error
    except (errors.HTTPError, ConnectionError) as error:
        raise LessonError(
            f"The download of {row.hub} broke off ({type(error).__name__}): run it again, "
            "files that are finished are kept."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LessonError(_no_room(row, row.download_bytes)) from error
        raise LessonError(
            f"{row.hub} cannot be stored: {error.strerror or error}. HF_HOME sets the cache folder."
        ) from error


def _check_room(row: Model, missing: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    if shutil.disk_usage(folder).free < missing:
        raise LessonError(_no_room(row, missing))


def _no_room(row: Model, missing: int) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return (
        f"The disk is too full for {row.hub}: {missing / 1e9:.1f} GB go to {HF_HUB_CACHE}. "
        "Free some room, or set HF_HOME to another disk."
    )
