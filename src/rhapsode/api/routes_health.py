"""Is the process alive, and can it take work?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from rhapsode.api.context import Ctx

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The event loop turns."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(ctx: Ctx) -> JSONResponse:
    """Ledger, store and workers can take work; 503 names what cannot."""
    checks = await ctx.service.readiness()
    ready = all(state == "ok" for state in checks.values())
    return JSONResponse({"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503)
