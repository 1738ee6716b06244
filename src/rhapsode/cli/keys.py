"""``rhapsode keys``: through the server, or on the data directory itself when none runs."""

import time
from typing import Any

import click

from rhapsode.api.routes_keys import shown
from rhapsode.cli.jobs import at_the_source, with_shop
from rhapsode.cli.options import Options, print_json
from rhapsode.jobs.keys import KeyWish, create_key, rotate_key
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.status import iso
from rhapsode.ledger.access import DAY_S
from rhapsode.model import Limits, Priority, Scope


@click.group("keys")
def keys_command() -> None:
    """Make, list, renew and end API keys. The first one closes the server to everybody without a key."""


@keys_command.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Grant everything.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(["submit", "read"]), help="Default: both.")
@click.option("--owner", help="Keys of one owner share jobs. Default: a new owner.")
@click.option("--expires-days", type=click.FloatRange(0, 36_500, min_open=True), help="Default: never.")
@click.option("--requests-per-minute", type=click.IntRange(1, 1_000_000), help="Requests of the owner.")
@click.option("--queued-jobs", type=click.IntRange(0), help="Unfinished jobs of the owner.")
@click.option("--chars-per-day", type=click.IntRange(0), help="Characters of the owner, per day in UTC.")
@click.option("--stored-bytes", type=click.IntRange(0), help="Finished files of the owner.")
@click.option(
    "--priority",
    type=click.Choice([one.name.lower() for one in Priority]),
    default="interactive",
    help="Highest class.",
)
@click.pass_obj
def create_command(
    options: Options,
    /,
    name: str,
    admin: bool,
    scopes: tuple[str, ...],
    owner: str | None,
    expires_days: float | None,
    priority: str,
    **bounds: int | None,
) -> None:
    """Make a key and print its secret, which is shown this once."""
    wanted = frozenset({Scope.ADMIN} if admin else map(Scope, scopes or ("submit", "read")))
    limits = Limits(**bounds, priority=Priority[priority.upper()])
    expires_at = None if expires_days is None else time.time() + expires_days * DAY_S

    async def offline(shop: Shop) -> dict[str, Any]:
        wish = KeyWish(name, wanted, owner, limits, expires_at)
        key, secret = await create_key(shop.access, wish, shop.clock)
        return shown(key) | {"secret": secret}

    body: dict[str, object] = {
        "name": name,
        "scopes": sorted(wanted),
        "owner": owner,
        "limits": {**bounds, "priority": priority},
        "expires_at": iso(expires_at),
    }
    _print_secret(
        options,
        at_the_source(options, lambda it: it.create_key(body), lambda settings: with_shop(settings, offline)),
    )


@keys_command.command("list")
@click.pass_obj
def list_command(options: Options) -> None:
    """List all keys as JSON, without their secrets."""

    async def offline(shop: Shop) -> list[dict[str, Any]]:
        return [shown(key) for key in await shop.access.list_keys()]

    found = at_the_source(options, lambda it: list(it.keys()), lambda settings: with_shop(settings, offline))
    print_json(found)


@keys_command.command("rotate")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def rotate_command(options: Options, key_id: str) -> None:
    """Give a key another secret; the old one ends at once."""

    async def offline(shop: Shop) -> dict[str, Any]:
        key, secret = await rotate_key(shop.access, key_id)
        return shown(key) | {"secret": secret}

    _print_secret(
        options,
        at_the_source(options, lambda it: it.rotate_key(key_id), lambda settings: with_shop(settings, offline)),
    )


@keys_command.command("revoke")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke_command(options: Options, key_id: str) -> None:
    """End a key and its sessions at once."""

    async def offline(shop: Shop) -> None:
        await shop.access.revoke_key(key_id)

    at_the_source(options, lambda it: it.revoke_key(key_id), lambda settings: with_shop(settings, offline))
    click.echo(f"{key_id} revoked")


def _print_secret(options: Options, key: dict[str, Any]) -> None:
    options.say(f"key {key['id']} of {key['owner']}, {' '.join(key['scopes'])}; the secret is shown this once:")
    click.echo(key["secret"])
