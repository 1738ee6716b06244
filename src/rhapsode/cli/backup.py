"""``rhapsode backup`` and ``rhapsode restore``."""

from pathlib import Path

import click

from rhapsode.backup import Manifest, back_up, left_out, restore, restored_config, verify
from rhapsode.cli.options import Options, human_size
from rhapsode.config import load_settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("backup")
@click.argument("dest", type=_FOLDER)
@click.option(
    "--link", is_flag=True, help="Hard links to takes and results where possible: quick, but on the same disk."
)
@click.pass_obj
def backup_command(options: Options, dest: Path, link: bool) -> None:
    """Copy everything that lasts into the new folder DEST; a server may go on meanwhile."""
    loaded = options.load()
    manifest = back_up(loaded.settings, dest.absolute(), link)
    _tell(options, manifest, f"backed up to {dest}")
    for what in left_out(loaded):
        options.warn(f"not in the backup: {what}")


@click.command("restore")
@click.argument("src", type=_FOLDER)
@click.option("--check", is_flag=True, help="Only read the whole backup and say whether it is good.")
@click.pass_obj
def restore_command(options: Options, src: Path, check: bool) -> None:
    """Put the backup SRC into the data directory, which must be empty or not there (--data-dir)."""
    src = src.absolute()
    if check:
        _tell(options, verify(src), f"{src} is whole")
        return
    content = None if options.config else restored_config(src)
    settings = load_settings(options.config, options.data_dir, content=content).settings
    _tell(options, restore(src, settings), f"restored into {settings.data_dir}")


def _tell(options: Options, manifest: Manifest, done: str) -> None:
    options.say(f"{done}: {len(manifest.files):,} files, {human_size(manifest.size)}")
    if manifest.missing:
        options.warn(
            f"{len(manifest.missing):,} takes or results were damaged or gone before the backup; takes are spoken again"
        )
