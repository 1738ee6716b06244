/** The server's configuration. What only the file may change is shown, and cannot be edited here. */
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api } from "../services/api";
import type { Setting, SettingSection } from "../services/types";
import { announce, attempt, messageOf, toast } from "../state/messages";
import { begin, engine, loadEngine } from "../state/server";

type Nested = { [name: string]: unknown };

const sections = signal<SettingSection[] | null>(null);
const file = signal("");
const changes = signal<Record<string, unknown>>({});
const restart = signal(false);

async function load(): Promise<void> {
  const found = await api.settings();
  sections.value = found.sections;
  file.value = found.file;
}

const words = (key: string): string => {
  const [section, ...names] = key.split(".");
  const text = (names.join(": ") || section || key).replace(/_/g, " ").replace(/ (sec|hours|mb|lufs)$/, "");
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return capital.replace(/\b(tts|cfg|ttl|ssl|ui|openai)\b/gi, (short) => ({ ui: "Page", openai: "OpenAI" })[short.toLowerCase()] ?? short.toUpperCase());
};

export function SettingsView() {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState("");
  useEffect(() => {
    load().catch((problem: unknown) => setError(messageOf(problem)));
  }, []);
  const changed = Object.keys(changes.value).length;
  const doing = async (name: string, work: () => Promise<void>): Promise<void> => {
    setBusy(name);
    setError(null);
    try {
      await work();
    } catch (problem) {
      setError(messageOf(problem));
    }
    setBusy("");
  };
  const save = (): Promise<void> =>
    doing("save", async () => {
      const nested: Nested = {};
      for (const [key, value] of Object.entries(changes.value)) {
        const path = key.split(".");
        const name = path.pop() ?? "";
        path.reduce((inner, part) => (inner[part] ??= {}) as Nested, nested)[name] = value;
      }
      const answer = await api.saveSettings(nested);
      changes.value = {};
      restart.value ||= answer.restart_needed;
      announce(answer.message);
      toast(answer.message);
      await load();
      await begin();
    });
  const reset = async (): Promise<void> => {
    if (!confirm("Set every setting to its default? The old file is kept beside the new one.")) return;
    await doing("reset", async () => {
      const answer = await api.resetSettings();
      changes.value = {};
      restart.value = answer.restart_needed;
      toast(answer.message);
      await load();
    });
  };
  const renew = (): Promise<void> =>
    doing("engine", async () => {
      const answer = await api.restartEngine();
      restart.value = false;
      toast(answer.message);
      await attempt(loadEngine);
    });
  return (
    <section class="view settings" aria-labelledby="settings-title">
      <h1 id="settings-title">Settings</h1>
      <p class="hint">They stand in <code>{file.value || "config.yaml"}</code>; its comments stay. Values marked “restart” hold after the engine, or the server, was started anew.</p>
      {error && <p class="error" role="alert">{error}</p>}
      <div class="card row wrap engine">
        <span>
          Engine <strong>{engine.value?.name ?? "–"}</strong> on {engine.value?.device ?? "–"}: {engine.value?.state ?? "–"}
        </span>
        <span class="row end">
          <button type="button" disabled={busy !== ""} onClick={() => void renew()}>{busy === "engine" ? "Loading…" : "Load it anew"}</button>
          <button type="button" class="quiet" disabled={busy !== ""} onClick={() => void doing("unload", async () => { await api.unload(); await loadEngine(); })}>Unload</button>
        </span>
      </div>
      {restart.value && <p class="notice" role="status">Some changes wait for a restart. “Load it anew” is enough for voices, paths and device; addresses and limits need the server itself to be restarted.</p>}
      {sections.value === null && !error && <p aria-busy="true">Loading…</p>}
      {sections.value?.map((section) => (
        <details key={section.name} class="card group" open={["generation_defaults", "audio_output"].includes(section.name)}>
          <summary><h2>{words(section.name)}</h2> <span class="hint">{section.help}</span></summary>
          {section.settings.map((setting) => <Field key={setting.key} setting={setting} />)}
        </details>
      ))}
      {sections.value && (
        <div class="savebar">
          <button type="button" class="quiet" disabled={busy !== ""} onClick={() => void reset()}>Reset everything</button>
          <span class="end hint">{changed ? `${changed} changed` : "Nothing changed"}</span>
          <button type="button" class="primary" disabled={!changed || busy !== ""} onClick={() => void save()}>Save</button>
        </div>
      )}
    </section>
  );
}

function Field({ setting }: { setting: Setting }) {
  const value = setting.key in changes.value ? changes.value[setting.key] : setting.value;
  const change = (next: unknown): void => {
    const { [setting.key]: _, ...rest } = changes.value;
    changes.value = next === setting.value ? rest : { ...rest, [setting.key]: next };
  };
  const hint = [setting.help, setting.special && `${setting.special}.`].filter(Boolean).join(" ");
  const bounds = setting.minimum !== null && setting.maximum !== null ? `${setting.minimum} – ${setting.maximum}` : "";
  const id = `s-${setting.key}`;
  const common = { id, disabled: setting.file_only, "aria-describedby": `${id}-hint` };
  return (
    <div class="setting">
      <label for={id}>
        {words(setting.key)}
        {setting.restart && <em class="tag">restart</em>}
        {setting.file_only && <em class="tag">file only</em>}
      </label>
      {setting.type === "boolean" ? (
        <input {...common} type="checkbox" checked={value === true} onChange={(event) => change(event.currentTarget.checked)} />
      ) : setting.type === "choice" ? (
        <select {...common} value={String(value)} onChange={(event) => change(event.currentTarget.value)}>
          {setting.choices.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      ) : setting.type === "integer" || setting.type === "number" ? (
        <span class="unit">
          <NumberInput {...common} step={setting.type === "integer" ? 1 : "any"} min={setting.minimum ?? undefined} max={setting.maximum ?? undefined} number={value === null ? null : Number(value)} change={change} />
          {setting.unit}
        </span>
      ) : (
        <input {...common} type="text" value={value === null ? "" : String(value)} onInput={(event) => change(event.currentTarget.value)} />
      )}
      <p id={`${id}-hint`} class="hint">{hint} {bounds}</p>
    </div>
  );
}

const parsed = (typed: string): number | null => (typed === "" ? null : Number(typed));

/** Keeps what is typed as it is typed, such as the 0.0 on the way to 0.05, until the number changes from elsewhere. */
function NumberInput({ number, change, ...rest }: { number: number | null; change: (number: number | null) => void } & JSX.InputHTMLAttributes<HTMLInputElement>) {
  const [typed, setTyped] = useState("");
  const shown = parsed(typed) === number ? typed : String(number ?? "");
  return (
    <input
      {...rest}
      type="number"
      value={shown}
      onInput={(event) => {
        setTyped(event.currentTarget.value);
        change(parsed(event.currentTarget.value));
      }}
    />
  );
}
