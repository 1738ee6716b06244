/** Write or drop a text, choose how it is to sound, generate. */
import { signal } from "@preact/signals";
import { useCallback, useRef, useState } from "preact/hooks";
import { count, duration, number } from "../services/format";
import {
  attach, chars, deletePreset, edited, engine, language, ownPresets, plan, planning, planScale, presets, request, savePreset, set,
  speakers, takeFiles, text, usePreset, value, voice, wrong,
} from "../state/compose";
import { submit, submitError, submitting } from "../state/current";
import { toast } from "../state/messages";
import { hearVoice, playing, source, stop } from "../state/player";
import { engines, initial, recordings } from "../state/server";
import { Icon } from "./Icon";
import { UploadButton } from "./Upload";

const LABELS: Record<string, string> = {
  speed_factor: "Speed",
  temperature: "Liveliness",
  exaggeration: "Expressiveness",
  cfg_weight: "Closeness to the voice",
};

export async function generate(): Promise<void> {
  if (submitting.value) return;
  if (!text().trim()) {
    submitError.value = "There is no text yet.";
    document.getElementById("text")?.focus();
    return;
  }
  if (await submit(request(text()))) document.getElementById("now-title")?.scrollIntoView({ block: "nearest" });
}

export function Compose() {
  const [over, setOver] = useState(false);
  const box = useCallback((element: HTMLTextAreaElement | null) => void attach(element), []);
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void generate();
    }
  };
  return (
    <form
      class="card compose"
      aria-label="Compose"
      onKeyDown={onKey}
      onSubmit={(event) => {
        event.preventDefault();
        void generate();
      }}
    >
      <div class="compose-head">
        <h1>Compose</h1>
        <FileButton />
        <Presets />
      </div>
      <div
        class={over ? "paper over" : "paper"}
        onDragOver={(event) => {
          if (event.dataTransfer?.types.includes("Files")) {
            event.preventDefault();
            setOver(true);
          }
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          setOver(false);
          const files = event.dataTransfer?.files;
          if (files?.length) {
            event.preventDefault();
            void takeFiles(files);
          }
        }}
      >
        <textarea
          id="text"
          ref={box}
          dir="auto"
          aria-label="Text"
          aria-describedby="counts wrong"
          placeholder="Write, paste a whole book, or drop a .txt or .md file here."
          onInput={edited}
          spellcheck={false}
        />
        <Counts />
        <p id="wrong" class="error" role="status">{wrong.value}</p>
      </div>
      <VoiceFields />
      <Knobs />
      <div class="go">
        <p class="error" role="alert">{submitError.value}</p>
        <button type="submit" class="primary" disabled={submitting.value} aria-keyshortcuts="Control+Enter Meta+Enter">
          {submitting.value ? "Sending…" : "Generate"}
        </button>
        <kbd aria-hidden="true">{/Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl"} ↵</kbd>
      </div>
    </form>
  );
}

function Counts() {
  const found = plan.value;
  const scale = planScale.value;
  const about = scale > 1 ? "about " : "";
  const parts = [count(chars.value, "character")];
  if (found && chars.value > 0) {
    parts.push(about + count(Math.round(found.totals.segments * scale), "segment"));
    if (found.audio_seconds !== null) parts.push(`about ${duration(found.audio_seconds * scale)} of audio`);
    if (found.eta_seconds !== null) parts.push(`ready in about ${duration(Math.max(1, found.eta_seconds.p50 * scale))}`);
  }
  return (
    <p id="counts" class={planning.value ? "counts stale" : "counts"}>
      {parts.join(" · ")}
    </p>
  );
}

function FileButton() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        accept=".txt,.md,.markdown,text/plain,text/markdown"
        hidden
        aria-hidden="true"
        onChange={(event) => {
          void takeFiles(event.currentTarget.files ?? []);
          event.currentTarget.value = "";
        }}
      />
      <button type="button" class="quiet" onClick={() => input.current?.click()}>
        <Icon name="file" /> Open a file
      </button>
    </>
  );
}

function Presets() {
  const name = useRef<HTMLInputElement>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const own = ownPresets.value;
  return (
    <>
      <label class="inline">
        <span class="sr">Preset</span>
        <select
          value=""
          onChange={(event) => {
            const chosen = event.currentTarget.value;
            event.currentTarget.value = "";
            if (chosen === "+") dialog.current?.showModal();
            else if (chosen.startsWith("-")) deletePreset(chosen.slice(1));
            else {
              const preset = presets.value[Number(chosen)];
              if (preset) usePreset(preset);
            }
          }}
        >
          <option value="" disabled>Presets</option>
          {presets.value.map((preset, index) => (
            <option key={`${index} ${preset.name}`} value={index}>{preset.name}</option>
          ))}
          <option value="+">Save these settings…</option>
          {own.map((preset) => (
            <option key={preset.name} value={`-${preset.name}`}>Delete “{preset.name}”</option>
          ))}
        </select>
      </label>
      <dialog ref={dialog} aria-labelledby="preset-title">
        <h2 id="preset-title">Save these settings</h2>
        <label class="field">
          <span>Name of the preset</span>
          <input ref={name} type="text" maxLength={60} onKeyDown={(event) => event.key === "Enter" && event.preventDefault()} />
        </label>
        <div class="row end">
          <button type="button" class="quiet" onClick={() => dialog.current?.close()}>Never mind</button>
          <button
            type="button"
            onClick={() => {
              const given = name.current?.value.trim();
              if (!given) return name.current?.focus();
              savePreset(given);
              toast(`“${given}” is saved in this browser.`);
              dialog.current?.close();
              return undefined;
            }}
          >
            Save
          </button>
        </div>
      </dialog>
    </>
  );
}

function VoiceFields() {
  const clone = value("voice_mode") === "clone";
  const able = engine.value?.can_clone === true;
  return (
    <fieldset class="voice">
      <legend class="sr">Voice</legend>
      {engines.value.length > 1 && (
        <label class="field">
          <span>Engine</span>
          <select value={engine.value?.name ?? ""} onChange={(event) => set("engine", event.currentTarget.value)}>
            {engines.value.map((one) => (
              <option key={one.name} value={one.name}>{one.state === "ready" ? one.name : `${one.name}: ${one.state}`}</option>
            ))}
          </select>
        </label>
      )}
      <div class="segmented" role="radiogroup" aria-label="Kind of voice">
        {(["predefined", "clone"] as const).map((mode) => (
          <label key={mode}>
            <input type="radio" name="voice_mode" value={mode} checked={(mode === "clone") === clone} onChange={() => set("voice_mode", mode)} />
            <span>{mode === "clone" ? "Clone a voice" : "Voice"}</span>
          </label>
        ))}
      </div>
      {clone ? (
        <div class="row grow">
          <label class="field grow">
            <span>Recording to speak like</span>
            <select value={String(value("reference_audio_filename") ?? "")} onChange={(event) => set("reference_audio_filename", event.currentTarget.value)}>
              <option value="">{recordings.value.length ? "Choose a recording" : "No recording yet"}</option>
              {recordings.value.map((one) => <option key={one.id} value={one.filename}>{one.name}</option>)}
            </select>
          </label>
          <UploadButton kind="reference" onTaken={(names) => names[0] && set("reference_audio_filename", names[0])}>Upload a recording</UploadButton>
          {!able && (
            <p class="hint wide">
              The engine {engine.value?.name ?? "here"} cannot clone voices: recordings are kept, but speaking needs an engine that can.
            </p>
          )}
        </div>
      ) : (
        <div class="row grow">
          <label class="field grow">
            <span>Voice</span>
            <select value={voice.value?.filename ?? ""} onChange={(event) => set("predefined_voice_id", event.currentTarget.value)}>
              {speakers.value.map((one) => <option key={one.id} value={one.filename}>{one.name}</option>)}
            </select>
          </label>
          <PreviewButton />
        </div>
      )}
    </fieldset>
  );
}

function PreviewButton() {
  const id = voice.value?.id;
  if (!id) return null;
  const now = source.value;
  const mine = now?.kind === "preview" && now.voice === id && playing.value;
  return (
    <button type="button" class="quiet" onClick={() => (mine ? stop() : hearVoice(id))}>
      <Icon name={mine ? "stop" : "ear"} /> {mine ? "Stop" : "Hear it"}
    </button>
  );
}

const more = signal(false);

function Knobs() {
  const found = engine.value;
  const languages = Object.entries(found?.languages ?? {});
  const showLanguage = initial.value?.config.ui.show_language_select !== false && languages.length > 1;
  return (
    <div class="knobs">
      {found?.controls.map((control) => (
        <Slider key={control.name} label={LABELS[control.name] ?? control.name} {...control} />
      ))}
      <label class="field">
        <span>Format</span>
        <select value={String(value("output_format"))} onChange={(event) => set("output_format", event.currentTarget.value)}>
          {["wav", "mp3", "opus", "flac"].map((one) => <option key={one} value={one}>{one.toUpperCase()}</option>)}
        </select>
      </label>
      <button type="button" class="quiet more" aria-expanded={more.value} onClick={() => (more.value = !more.value)}>
        {more.value ? "Fewer settings" : "More settings"}
      </button>
      {more.value && (
        <>
          <Seed />
          {showLanguage && (
            <label class="field">
              <span>Language</span>
              <select value={language.value} onChange={(event) => set("language", event.currentTarget.value)}>
                <option value="">As configured</option>
                <option value="auto">Told from the text</option>
                {languages.map(([code, name]) => <option key={code} value={code}>{name}</option>)}
              </select>
            </label>
          )}
          <label class="field">
            <span>Kind of text</span>
            <select value={String(value("input_type"))} onChange={(event) => set("input_type", event.currentTarget.value)}>
              <option value="auto">As it looks: SSML when it begins with &lt;speak&gt;</option>
              <option value="text">With markers such as [pause 1s]</option>
              <option value="ssml">SSML</option>
              <option value="plain">Plain: brackets and tags mean nothing</option>
            </select>
          </label>
          <label class="field">
            <span>Priority</span>
            <select value={String(value("priority"))} onChange={(event) => set("priority", event.currentTarget.value)}>
              <option value="interactive">First: I am waiting</option>
              <option value="normal">Normal</option>
              <option value="batch">Later: no hurry</option>
            </select>
          </label>
          <label class="field">
            <span>Longest segment, characters</span>
            <input type="number" min={50} max={500} step={10} disabled={value("split_text") === false} value={Number(value("chunk_size"))} onChange={(event) => set("chunk_size", bounded(event.currentTarget, 120))} />
          </label>
          <label class="check">
            <input type="checkbox" checked={value("split_text") === true} onChange={(event) => set("split_text", event.currentTarget.checked)} />
            <span>Cut into segments of that length</span>
          </label>
        </>
      )}
    </div>
  );
}

function bounded(input: HTMLInputElement, otherwise: number): number {
  const given = Number(input.value);
  const found = input.value === "" || !Number.isFinite(given) ? otherwise : given;
  const inside = Math.min(Math.max(found, Number(input.min)), Number(input.max));
  input.value = String(inside);
  return inside;
}

function Slider(props: { name: string; label: string; minimum: number; maximum: number; help: string }) {
  const now = Number(value(props.name));
  return (
    <label class="field slider" title={props.help}>
      <span>
        {props.label} <b class="value">{number(Math.round(now * 100) / 100)}</b>
      </span>
      <input type="range" min={props.minimum} max={props.maximum} step={0.05} value={now} onInput={(event) => set(props.name, Number(event.currentTarget.value))} />
    </label>
  );
}

function Seed() {
  const now = Number(value("seed"));
  return (
    <div class="row">
      <label class="field grow">
        <span>Seed {now > 0 ? "" : "(a new one each time)"}</span>
        <input type="number" min={0} max={4294967295} value={now} onChange={(event) => set("seed", bounded(event.currentTarget, 0))} />
      </label>
      <button type="button" class="quiet square" aria-label="Draw a seed" onClick={() => set("seed", 1 + Math.floor(Math.random() * 999_999))}>
        <Icon name="dice" />
      </button>
    </div>
  );
}
