"""The Wyoming protocol: how Home Assistant speaks through Rhapsode. Imported only when ``wyoming.enabled``; needs the extra ``wyoming``.

Each text becomes an attached job, as with ``POST /tts``: interactive, sent as it is made, cancelled when the client leaves.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import psutil
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.ping import Ping, Pong
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from rhapsode.errors import RhapsodeError, TooLarge
from rhapsode.jobs.live import live_audio
from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.service import JobService
from rhapsode.model import AudioFormat, Voice
from rhapsode.settings import Wyoming

log = logging.getLogger(__name__)

_KIND = "_wyoming._tcp.local."
_IP = (socket.AF_INET, socket.AF_INET6)
_PIECE = 4_096
"""Bytes in one chunk of audio."""
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]»]*\s+|\n+")
_ENDS_NO_SENTENCE = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|e\.g|i\.e)|\b[A-Z]|\d)\.\s+$")
_WAITING = 1_000
"""Sentences that one connection may have waiting; a client that sends faster has to wait."""


@dataclass(slots=True)
class _Reply:
    """One answer: the audio of one or more texts."""

    voice: SynthesizeVoice | None
    streaming: bool
    rate: int | None = None
    texts: "asyncio.Queue[str | None]" = field(default_factory=lambda: asyncio.Queue(_WAITING))


class Handler(AsyncEventHandler):
    """One connection. Speaks in a task of its own, so that it hears when the client leaves."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        service: JobService,
        settings: Wyoming,
        handlers: set["Handler"],
    ) -> None:
        super().__init__(reader, writer)
        self._handlers = handlers
        handlers.add(self)
        self._service = service
        self._settings = settings
        self._replies: asyncio.Queue[_Reply] = asyncio.Queue(_WAITING)
        self._streamed: _Reply | None = None
        self._pending = ""
        self._chars = 0
        self._speaker = asyncio.create_task(self._speak_all())

    async def run(self) -> None:
        """Answer until the client leaves; at once nothing to those who may not connect."""
        try:
            await self._run()
        finally:
            self._handlers.discard(self)

    async def _run(self) -> None:
        peer = self.writer.get_extra_info("peername")
        networks = self._settings.networks
        if networks and not any(ipaddress.ip_address(peer[0]) in network for network in networks):
            log.warning("a Wyoming client at %s was refused (wyoming.allowed)", peer[0])
            self._speaker.cancel()
            self.writer.close()
            return
        await super().run()

    async def disconnect(self) -> None:
        """The client left: nothing more is spoken for it."""
        self._speaker.cancel()
        await asyncio.gather(self._speaker, return_exceptions=True)

    async def handle_event(self, event: Event) -> bool:
        """Take one message; False ends the connection."""
        try:
            if Describe.is_type(event.type):
                await self.write_event((await self._info()).event())
            elif Ping.is_type(event.type):
                await self.write_event(Pong(text=Ping.from_event(event).text).event())
            elif Synthesize.is_type(event.type):
                if self._streamed is None:  # else it repeats what was streamed, for servers that cannot stream
                    asked = Synthesize.from_event(event)
                    await self._replies.put(self._reply_to(asked))
            elif SynthesizeStart.is_type(event.type):
                if self._streamed is not None:  # was never stopped
                    await self._streamed.texts.put(None)
                self._streamed = _Reply(SynthesizeStart.from_event(event).voice, streaming=True)
                self._pending, self._chars = "", 0
                await self._replies.put(self._streamed)
            elif SynthesizeChunk.is_type(event.type) and self._streamed is not None:
                await self._add(self._streamed, SynthesizeChunk.from_event(event).text)
            elif SynthesizeStop.is_type(event.type) and self._streamed is not None:
                if self._pending.strip():
                    await self._streamed.texts.put(self._pending)
                await self._streamed.texts.put(None)
                self._streamed, self._pending = None, ""
        except (RhapsodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            await self._refuse(error)
        return True

    def _reply_to(self, asked: Synthesize) -> _Reply:
        bound = self._settings.max_text_chars
        if len(asked.text) > bound:
            raise TooLarge(
                f"the text has {len(asked.text):,} characters; the limit is {bound:,} (wyoming.max_text_chars)"
            )
        reply = _Reply(asked.voice, streaming=False)
        reply.texts.put_nowait(asked.text)
        reply.texts.put_nowait(None)
        return reply

    async def _add(self, reply: _Reply, text: str) -> None:
        """Pass on each sentence as soon as it is whole."""
        self._chars += len(text)
        if self._chars > self._settings.max_text_chars:
            raise TooLarge(
                f"the text has more than {self._settings.max_text_chars:,} characters (wyoming.max_text_chars)"
            )
        self._pending += text
        begin = 0
        for end in _SENTENCE_END.finditer(self._pending):
            sentence = self._pending[begin : end.end()]
            if _ENDS_NO_SENTENCE.search(sentence) is None and sentence.strip():
                await reply.texts.put(sentence)
                begin = end.end()
        self._pending = self._pending[begin:]

    async def _speak_all(self) -> None:
        """Answer one request after the other."""
        while True:
            reply, is_refused = await self._replies.get(), False
            while (text := await reply.texts.get()) is not None:
                if is_refused:
                    continue
                try:
                    await self._speak(reply, text)
                except ConnectionError:
                    return
                except Exception as error:  # noqa: BLE001 - whatever it was, the connection's next request is answered
                    is_refused = True
                    await self._refuse(error)
            if reply.rate is not None:
                await self.write_event(AudioStop().event())
            if reply.streaming:
                await self.write_event(SynthesizeStopped().event())

    async def _speak(self, reply: _Reply, text: str) -> None:
        if not any(char.isalnum() for char in text):
            return
        service = self._service
        service.require_engine()
        described = await service.shop.fleet.describe()
        wanted = _chosen(described.voices, reply.voice)
        asked: dict[str, object] = {"text": text, "tags": ["wyoming"], "predefined_voice_id": wanted}
        if reply.voice is not None and reply.voice.language and wanted is None:
            asked["language"] = reply.voice.language
        job = await service.submit(SpeechBody.model_validate(asked), attached=True)
        voice = (await service.described(job.request.engine)).voice(job.request.voice)
        rate = job.request.rate or (voice.sample_rate if voice else 22_050)
        async with (
            service.attend(job),
            contextlib.aclosing(live_audio(service.shop, service.scheduler, job, AudioFormat.PCM)) as stream,
        ):
            async for data in stream:
                if reply.rate is None:
                    reply.rate = rate
                    await self.write_event(AudioStart(rate=rate, width=2, channels=1).event())
                for at in range(0, len(data), _PIECE):
                    piece = AudioChunk(rate=rate, width=2, channels=1, audio=data[at : at + _PIECE])
                    await self.write_event(piece.event())

    async def _refuse(self, error: Exception) -> None:
        log.warning("a Wyoming request failed: %s", error)
        with contextlib.suppress(ConnectionError):
            await self.write_event(Error(text=str(error), code=type(error).__name__).event())

    async def _info(self) -> Info:
        described = await self._service.shop.fleet.describe(refresh=True)
        whose = Attribution(name="Rhapsode", url="")
        voices = [
            TtsVoice(voice.id, whose, True, voice.display_name, voice.revision[:40], [voice.language])
            for voice in described.voices
        ]
        program = TtsProgram(
            name="rhapsode",
            attribution=whose,
            installed=True,
            description="Rhapsode, speech that loses nothing",
            version=version("rhapsode"),
            voices=voices,
            supports_synthesize_streaming=True,
        )
        return Info(tts=[program])


def _chosen(voices: tuple[Voice, ...], wanted: SynthesizeVoice | None) -> str | None:
    """The voice that is named, or the first of its language; None: the default."""
    if wanted is None:
        return None
    if wanted.name:
        return f"{wanted.name}#{wanted.speaker}" if wanted.speaker else wanted.name
    language = (wanted.language or "").replace("_", "-").partition("-")[0].lower()
    return next(
        (voice.id for voice in voices if language and voice.language.lower().partition("-")[0] == language), None
    )


@asynccontextmanager
async def answering_wyoming(service: JobService, settings: Wyoming) -> AsyncIterator[int]:
    """Answer Wyoming clients for as long as the block runs; gives the port."""
    handlers: set[Handler] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Handler:
        return Handler(reader, writer, service, settings, handlers)

    server = _Server(settings.host, settings.port)
    await server.start(connected)
    port = server.bound_port
    log.info("Wyoming clients are answered at tcp://%s:%d", settings.host, port)
    announced = await _announce(settings, port)
    try:
        yield port
    finally:
        await server.stop()
        for handler in list(handlers):
            await handler.disconnect()
        if announced is not None:
            await announced.async_close()


class _Server(AsyncTcpServer):
    """Knows its port, whichever the system chose."""

    @property
    def bound_port(self) -> int:
        """Where it listens."""
        found: Any = self._server
        return int(found.sockets[0].getsockname()[1])


async def _announce(settings: Wyoming, port: int) -> AsyncZeroconf | None:
    """Tell the local network; a network that cannot be told is no error."""
    addresses = _announced_addresses(settings.host)
    if not settings.announce or not addresses:
        return None
    name = f"rhapsode-{socket.gethostname().partition('.')[0][:40]}"  # a network may have several
    network: AsyncZeroconf | None = None
    try:
        network = AsyncZeroconf()
        service = AsyncServiceInfo(_KIND, f"{name}.{_KIND}", port=port, parsed_addresses=addresses)
        await network.async_register_service(service, allow_name_change=True)
    except Exception as error:  # noqa: BLE001 - whatever a network can do to it
        log.warning("Home Assistant will not find this server by itself: %s", error)
        if network is not None:
            await network.async_close()
        return None
    return network


def _announced_addresses(host: str) -> list[str]:
    """Where others reach a server that listens at ``host``; none for one that is for this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name
        return []
    if not address.is_unspecified:
        return [] if address.is_loopback else [host]
    own = [
        found.address for all_of_one in psutil.net_if_addrs().values() for found in all_of_one if found.family in _IP
    ]
    plain = [ipaddress.ip_address(text.partition("%")[0]) for text in own]
    return [
        str(one) for one in plain if not one.is_loopback and not one.is_link_local and one.version <= address.version
    ]
