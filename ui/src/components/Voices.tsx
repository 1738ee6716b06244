/** The library: what there is to speak with. */
import { useEffect, useState } from "preact/hooks";
import { api } from "../services/api";
import { size } from "../services/format";
import type { Voice } from "../services/types";
import { set } from "../state/compose";
import { attempt, toast } from "../state/messages";
import { hearVoice, playing, source, stop, waiting } from "../state/player";
import { address } from "../state/route";
import { engine, loadVoices, mayAdmin, predefined, recordings } from "../state/server";
import { Icon } from "./Icon";
import { UploadButton } from "./Upload";
import { Words } from "./Words";

export function VoicesView() {
  useEffect(() => void attempt(loadVoices), []);
  return (
    <section class="view" aria-labelledby="voices-title">
      <h1 id="voices-title">Voices</h1>
      <div class="row">
        <h2>Ready to speak</h2>
        <span class="end"><UploadButton kind="predefined_voice">Add a voice</UploadButton></span>
      </div>
      {predefined.value.length === 0 && <p class="empty">There is no voice. <code>rhapsode voices install en_GB-alba-medium</code> brings one.</p>}
      <ul class="voices">{predefined.value.map((voice) => <Card key={voice.id} voice={voice} />)}</ul>
      <div class="row">
        <h2>Recordings to clone</h2>
        <span class="end"><UploadButton kind="reference">Upload a recording</UploadButton></span>
      </div>
      {engine.value?.can_clone !== true && (
        <p class="hint">The engine {engine.value?.name} cannot clone voices. Recordings are kept for engines that can.</p>
      )}
      {recordings.value.length === 0 && <p class="empty">No recording yet: some seconds of one voice, WAV or MP3.</p>}
      <ul class="voices">{recordings.value.map((voice) => <Card key={voice.id} voice={voice} />)}</ul>
      <Words />
    </section>
  );
}

function Card({ voice }: { voice: Voice }) {
  const [renaming, setRenaming] = useState(false);
  const from = source.value;
  const mine = from?.kind === "preview" && from.voice === voice.id && (playing.value || waiting.value);
  const use = (): void => {
    if (voice.kind === "reference") {
      set("voice_mode", "clone");
      set("reference_audio_filename", voice.filename);
    } else {
      set("voice_mode", "predefined");
      set("predefined_voice_id", voice.filename);
      if (voice.engine) set("engine", voice.engine);
    }
    location.hash = address("studio");
  };
  const rename = async (name: string): Promise<void> => {
    setRenaming(false);
    if (name && name !== voice.name) {
      await attempt(() => api.renameVoice(voice.id, name));
      await attempt(loadVoices);
    }
  };
  const remove = async (): Promise<void> => {
    if (!confirm(`Delete “${voice.name}” for good?`)) return;
    await attempt(async () => {
      await api.deleteVoice(voice.id);
      toast(`“${voice.name}” is deleted.`);
    });
    await attempt(loadVoices);
  };
  const facts = [voice.language_name, voice.sample_rate ? `${voice.sample_rate / 1000} kHz` : "", voice.bytes ? size(voice.bytes) : "", voice.consent ? `consent ${voice.consent}` : "", voice.default ? "default" : ""];
  return (
    <li class="voice-card" data-voice={voice.id}>
      <button type="button" class="primary round small" aria-label={mine ? `Stop ${voice.name}` : `Hear ${voice.name}`} onClick={() => (mine ? stop() : hearVoice(voice.id))}>
        <Icon name={mine ? "stop" : "play"} />
      </button>
      <div class="grow">
        {renaming ? (
          <form
            class="row"
            onSubmit={(event) => {
              event.preventDefault();
              void rename(String(new FormData(event.currentTarget).get("name")).trim());
            }}
          >
            <input type="text" name="name" aria-label="New name" defaultValue={voice.kind === "reference" ? voice.name : voice.id} maxLength={100} autofocus />
            <button type="submit">Rename</button>
          </form>
        ) : (
          <strong>{voice.name}</strong>
        )}
        <span class="hint">{facts.filter(Boolean).join(" · ")}</span>
      </div>
      <span class="job-acts">
        <button type="button" class="quiet" onClick={use}>Use</button>
        {voice.editable && mayAdmin.value && (
          <>
            <button type="button" class="quiet square" aria-label={`Rename ${voice.name}`} onClick={() => setRenaming(!renaming)}><Icon name="edit" /></button>
            <button type="button" class="quiet square" aria-label={`Delete ${voice.name}`} onClick={() => void remove()}><Icon name="trash" /></button>
          </>
        )}
      </span>
    </li>
  );
}
