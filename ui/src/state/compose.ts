/** What is to be spoken, and how: the only owner of the draft and its parameters. */
import { computed, effect, signal } from "@preact/signals";
import { api, ApiError } from "../services/api";
import { plainOfMarkdown } from "../services/format";
import { draft, storage } from "../services/storage";
import type { Engine, Params, Plan, Preset, Voice } from "../services/types";
import { attempt, toast } from "./messages";
import { engine as active, engines, initial, predefined } from "./server";

/** The text lives in the textarea: copying megabytes at every key would freeze the page. Only its length is a signal. */
let field: HTMLTextAreaElement | null = null;
export const chars = signal(0);
export const params = signal<Params>(storage.params());
export const plan = signal<Plan | null>(null);
export const planning = signal(false);
/** What is wrong with the text, such as a voice in it that there is none of. */
export const wrong = signal<string | null>(null);
/** The plan stands for a part of the text, so many times smaller. */
export const planScale = signal(1);
export const ownPresets = signal<Preset[]>(storage.presets());
export const presets = computed<Preset[]>(() => [...ownPresets.value, ...(initial.value?.presets ?? [])]);

/** The engine that is to speak: the one chosen here, else the active one. */
export const engine = computed<Engine | null>(() => engines.value.find((one) => one.name === params.value["engine"]) ?? active.value);
/** Its voices. */
export const speakers = computed<Voice[]>(() =>
  predefined.value.filter((one) => !one.engine || !engine.value || one.engine === engine.value.name),
);
/** The voice that is to speak, however it was named. */
export const voice = computed<Voice | null>(() => {
  const wanted = params.value["predefined_voice_id"];
  const all = speakers.value;
  return all.find((one) => one.filename === wanted || one.id === wanted) ?? all.find((one) => one.default) ?? all[0] ?? null;
});

const PLAN_MS = 500;
const PLAN_CHARS = 60_000;
const SAVE_MS = 800;

let planTimer: number | undefined;
let saveTimer: number | undefined;
let asked: AbortController | null = null;

export const text = (): string => field?.value ?? "";

/** The textarea is there: give it the draft. Or it leaves (null): keep what was written into it. */
export async function attach(element: HTMLTextAreaElement | null): Promise<void> {
  if (element === null && saveTimer !== undefined) save();
  field = element;
  if (element === null) return;
  const kept = await draft.load().catch(() => "");
  if (field !== element) return;
  if (element.value === "" && kept) element.value = kept;
  measure();
}

export function setText(value: string): void {
  if (field) field.value = value;
  edited();
}

/** The text has changed. */
export function edited(): void {
  clearTimeout(saveTimer);
  saveTimer = window.setTimeout(save, SAVE_MS);
  measure();
}

function save(): void {
  clearTimeout(saveTimer);
  saveTimer = undefined;
  if (field) void draft.save(field.value).catch(() => undefined);
}

function measure(): void {
  chars.value = field?.value.length ?? 0;
  replan();
}

export function set(name: string, value: Params[string]): void {
  params.value = { ...params.value, [name]: value };
  storage.setParams(params.value);
  replan();
}

effect(() => {
  if (engine.value) replan();
});

function replan(): void {
  clearTimeout(planTimer);
  asked?.abort();
  if (chars.value === 0) {
    plan.value = wrong.value = null;
    planning.value = false;
    return;
  }
  planning.value = true;
  planTimer = window.setTimeout(() => void askForPlan(), PLAN_MS);
}

async function askForPlan(): Promise<void> {
  const whole = text();
  const part = whole.slice(0, PLAN_CHARS);
  const mine = (asked = new AbortController());
  try {
    const found = part.trim() ? await api.plan({ ...request(part), seed: 1 }, mine.signal) : null;
    plan.value = found;
    wrong.value = null;
    planScale.value = part.length ? whole.length / part.length : 1;
  } catch (error) {
    if (mine.signal.aborted) return;
    plan.value = null;
    const isMarkup = error instanceof ApiError && error.pointer === "/text" && part.length === whole.length;
    wrong.value = isMarkup ? error.message : null;
  }
  if (asked === mine) planning.value = false;
}

/** The value of a parameter: what was chosen, else what the server would take. */
export function value(name: string): Params[string] {
  const chosen = params.value[name];
  if (chosen !== undefined && chosen !== null) return chosen;
  const data = initial.value?.config;
  switch (name) {
    case "voice_mode":
      return "predefined";
    case "output_format":
      return data?.audio_output.format ?? "wav";
    case "language":
      return data?.generation_defaults.language ?? "";
    case "seed":
      return 0;
    case "split_text":
      return true;
    case "chunk_size":
      return 120;
    case "priority":
      return "normal";
    case "input_type":
      return "auto";
    default:
      return engine.value?.controls.find((control) => control.name === name)?.default ?? "";
  }
}

/** Code of the language that was chosen, "auto", or "": as configured. */
export const language = computed<string>(() => {
  const chosen = String(params.value["language"] ?? "");
  return chosen === "auto" || chosen in (engine.value?.languages ?? {}) ? chosen : "";
});

/** The body that asks for a text with the parameters as they are. */
export function request(of: string): Params {
  const clone = value("voice_mode") === "clone";
  const body: Params = {
    text: of,
    voice_mode: clone ? "clone" : "predefined",
    output_format: value("output_format"),
    split_text: value("split_text"),
    chunk_size: value("chunk_size"),
    seed: value("seed"),
    priority: value("priority"),
  };
  if (clone) body["reference_audio_filename"] = value("reference_audio_filename") || null;
  else body["predefined_voice_id"] = voice.value?.filename ?? null;
  if (engines.value.length > 1 && engine.value) body["engine"] = engine.value.name;
  if (value("input_type") !== "auto") body["input_type"] = value("input_type");
  if (language.value) body["language"] = language.value;
  for (const control of engine.value?.controls ?? []) body[control.name] = value(control.name);
  return body;
}

/** Take the text of files, and what they are called. */
export async function takeFiles(files: Iterable<File>): Promise<void> {
  const bound = initial.value?.config.limits.max_text_chars ?? Infinity;
  for (const file of files) {
    const isMarkdown = /\.(md|markdown)$/i.test(file.name);
    if (!isMarkdown && !/\.(txt|text)$/i.test(file.name) && !file.type.startsWith("text/")) {
      toast(`${file.name} is no text: .txt and .md can be opened.`, "error");
      continue;
    }
    const found = await attempt(() => file.text());
    if (found === undefined) continue;
    const plain = isMarkdown ? plainOfMarkdown(found) : found;
    if (plain.length > bound) {
      toast(`${file.name} has ${plain.length.toLocaleString()} characters; ${bound.toLocaleString()} are allowed.`, "error");
      continue;
    }
    setText(plain);
    return;
  }
}

export function usePreset(preset: Preset): void {
  if (preset.text && (chars.value === 0 || presets.value.some((one) => one.text === text()))) setText(preset.text);
  const { voice_id: voice, ...rest } = preset.params ?? {};
  params.value = { ...params.value, ...rest, ...(voice ? { predefined_voice_id: voice } : {}) };
  storage.setParams(params.value);
  replan();
}

export function savePreset(name: string): void {
  const own: Preset = { name, params: { ...params.value } };
  ownPresets.value = [own, ...ownPresets.value.filter((one) => one.name !== name)];
  storage.setPresets(ownPresets.value);
}

export function deletePreset(name: string): void {
  ownPresets.value = ownPresets.value.filter((one) => one.name !== name);
  storage.setPresets(ownPresets.value);
}

/** Compose what a job was asked for, with its text. */
export function takeRequest(body: Params & { text: string }): void {
  const { text: of, tags: __, webhook_url: ___, ...rest } = body;
  params.value = { ...params.value, ...rest };
  storage.setParams(params.value);
  setText(of);
}
