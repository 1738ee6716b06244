"""Samples of voices, to choose by ear."""

import asyncio
from collections import OrderedDict

from rhapsode.jobs.request import SpeechBody
from rhapsode.jobs.service import JobService
from rhapsode.jobs.takes import JobEnded
from rhapsode.model import Caller, JobStatus, Voice

_KEPT_PREVIEWS = 64
_SENTENCES = {
    "de": "Das ist eine Probe dieser Stimme. So klingt sie, wenn sie erzählt.",
    "en": "This is a sample of this voice. Listen how it sounds when it tells a story.",
    "es": "Esta es una muestra de esta voz. Así suena cuando cuenta una historia.",
    "fr": "Voici un échantillon de cette voix. Écoutez comment elle raconte une histoire.",
    "it": "Questo è un esempio di questa voce. Ascolta come racconta una storia.",
    "ja": "これはこの声の見本です。",
    "nl": "Dit is een voorbeeld van deze stem. Zo klinkt ze als ze vertelt.",
    "pl": "To jest próbka tego głosu. Posłuchaj, jak opowiada.",
    "pt": "Esta é uma amostra desta voz. Ouça como ela conta uma história.",
    "ru": "Это образец этого голоса. Послушайте, как он рассказывает.",
    "zh": "这是这个声音的样本。",
}


class Previews:
    """Spoken samples of voices, kept by the voice's revision."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = asyncio.Lock()

    async def get(self, service: JobService, engine: str, voice: Voice, caller: Caller) -> bytes:
        """MP3 of the voice, spoken when it is asked for first.

        Raises:
            JobEnded: It could not be spoken.
        """
        key = f"{engine} {voice.id} {voice.revision}"
        async with self._lock:  # one at a time: a page that shows all voices must not flood the queue
            if key not in self._kept:
                self._kept[key] = await self._speak(service, engine, voice, caller)
                while len(self._kept) > _KEPT_PREVIEWS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    async def _speak(self, service: JobService, engine: str, voice: Voice, caller: Caller) -> bytes:
        text = _SENTENCES.get(voice.language.partition("-")[0].lower(), _SENTENCES["en"])
        body = SpeechBody.model_validate(
            {
                "text": text,
                "engine": engine,
                "predefined_voice_id": voice.id,
                "output_format": "mp3",
                "seed": 1,
                "priority": "interactive",
            }
        )
        job = await service.submit(body, caller, attached=True)
        async with service.attend(job):
            job = await service.wait(job.id)
        if job.status is not JobStatus.COMPLETED or job.result is None:
            raise JobEnded(job, job.id)
        data = await service.shop.results.get(job.result.name)
        await service.purge(job.id, caller)
        return data
