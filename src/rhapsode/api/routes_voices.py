"""What can be spoken with: the read-only lists of the old server."""

import asyncio

from fastapi import APIRouter

from rhapsode.api.context import Ctx, Reader

router = APIRouter(tags=["voices"])


@router.get("/get_predefined_voices")
async def predefined_voices(ctx: Ctx, _: Reader) -> list[dict[str, str]]:
    """Voices that the loaded engine can speak."""
    described = await ctx.service.shop.fleet.describe(refresh=True)
    return [{"display_name": voice.display_name, "filename": voice.filename} for voice in described.voices]


@router.get("/get_reference_files")
async def reference_files(ctx: Ctx, _: Reader) -> list[str]:
    """Reference recordings for cloning."""
    return await asyncio.to_thread(ctx.service.references)
