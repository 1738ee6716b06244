"""TTS model families behind one contract."""
