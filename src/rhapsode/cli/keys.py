"""``rhapsode keys``: through the server, or on the data directory itself when none runs."""

from typing import Any

import click

from rhapsode.api.routes_keys import shown
from rhapsode.cli.jobs import at_the_source, with_shop
from rhapsode.cli.options import Options, print_json
from rhapsode.jobs.keys import KeyWish, create_key, rotate_key
from rhapsode.jobs.shop import Shop
from rhapsode.model import Scope


@click.group("keys")
def keys_command() -> None:
    """Make, list, renew and end API keys. The first one closes the server to everybody without a key."""


@keys_command.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Grant everything.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(["submit", "read"]), help="Default: both.")
@click.option("--owner", help="Keys of one owner share jobs. Default: a new owner.")
@click.pass_obj
def create_command(options: Options, name: str, admin: bool, scopes: tuple[str, ...], owner: str | None) -> None:
    """Make a key and print its secret, which is shown this once."""
    wanted = frozenset({Scope.ADMIN} if admin else map(Scope, scopes or ("submit", "read")))

    async def offline(shop: Shop) -> dict[str, Any]:
        key, secret = await create_key(shop.access, KeyWish(name, wanted, owner), shop.clock)
        return shown(key) | {"secret": secret}

    body: dict[str, object] = {"name": name, "scopes": sorted(wanted), "owner": owner}
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
