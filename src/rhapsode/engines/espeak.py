"""Text to phonemes with espeak-ng, called as a library.

``phonemizer``, which kokoro-onnx calls, copies the library into a temporary folder for every call, and leaves the copy behind when a
worker ends. What is done here is the same: punctuation stays where it is, and espeak speaks what lies between.
"""

import ctypes
import re
import threading
from collections.abc import Iterator

import espeakng_loader

from rhapsode.errors import EngineError

_SYNCHRONOUS = 2
_UTF8 = 1
_IPA = 2
_MARKS = re.compile(r"[ \t]*([;:,.!?¡¿—…\"«»“”()]+)[ \t]*")
_FLAG = re.compile(r"\([a-z-]+\)")
"""Says that what follows is spoken in another language."""


class Espeak:
    """The library. One for a process: it keeps its state in global variables, behind this lock."""

    _lock = threading.Lock()
    _library: ctypes.CDLL | None = None

    def phonemes(self, text: str, voice: str) -> str:
        """IPA of one line of text, with its punctuation.

        Args:
            text: Without line ends.
            voice: espeak's name of the language, such as ``en-us``.

        Raises:
            EngineError: espeak has no such language, or cannot be loaded.
        """
        with self._lock:
            library = self._loaded()
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise EngineError(f"espeak-ng does not know the language {voice!r}")
            parts: list[str] = []
            position = 0
            for mark in _MARKS.finditer(text):
                parts += [self._spoken(library, text[position : mark.start()]), _spaced(mark)]
                position = mark.end()
            parts.append(self._spoken(library, text[position:]))
        return " ".join("".join(parts).split())

    @classmethod
    def _loaded(cls) -> ctypes.CDLL:
        if cls._library is None:
            library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
            if library.espeak_Initialize(_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0) <= 0:
                raise EngineError("espeak-ng cannot be initialised")
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
            cls._library = library
        return cls._library

    @staticmethod
    def _spoken(library: ctypes.CDLL, text: str) -> str:
        """Phonemes of a stretch without punctuation; espeak takes a clause at a time."""

        def clauses() -> Iterator[str]:
            rest = ctypes.c_char_p(text.encode("utf-8", "replace").replace(b"\0", b" "))
            while rest.value:
                said = library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
                yield (said or b"").decode("utf-8", "replace")

        return _FLAG.sub("", " ".join(clauses())) if text.strip() else ""


def _spaced(mark: re.Match[str]) -> str:
    """The marks, with a space on the sides on which the text has one."""
    before = " " if mark.start(1) > mark.start() else ""
    after = " " if mark.end() > mark.end(1) else ""
    return f"{before}{mark[1]}{after}"
