/** What is to be spoken, and how: the only owner of the draft and its parameters. */
import { computed, effect, signal } from "@preact/signals";
import { api } from "../services/api";
import { plainOfMarkdown } from "../services/format";
import { draft, storage } from "../services/storage";
import type { Params, Plan, Preset } from "../services/types";
import { attempt, toast } from "./messages";
import { engine, initial, predefined } from "./server";

/** The text lives in the textarea: copying megabytes at every key would freeze the page. Only its length is a signal. */
let field: HTMLTextAreaElement | null = null;
export const chars = signal(0);
export const params = signal<Params>(storage.params());
export const plan = signal<Plan | null>(null);
export const planning = signal(false);
/** The plan stands for a part of the text, so many times smaller. */
export const planScale = signal(1);
export const ownPresets = signal<Preset[]>(storage.presets());
export const presets = computed<Preset[]>(() => [...ownPresets.value, ...(initial.value?.presets ?? [])]);

const PLAN_MS = 500;
const PLAN_CHARS = 60_000;
const SAVE_MS = 800;

let planTimer: number | undefined;
let saveTimer: number | undefined;
let asked: AbortController | null = null;

export const text = (): string => field?.value ?? "";

/** The textarea is there: give it the draft. */
export async function attach(element: HTMLTextAreaElement | null): Promise<void> {
  field = element;
  if (element === null) return;
  const kept = await draft.load().catch(() => "");
  if (field === element && element.value === "" && kept) element.value = kept;
  edited();
}

export function setText(value: string): void {
  if (field) field.value = value;
  edited();
}

/** The text or a parameter has changed. */
export function edited(): void {
  chars.value = field?.value.length ?? 0;
  clearTimeout(saveTimer);
  saveTimer = window.setTimeout(() => void draft.save(text()).catch(() => undefined), SAVE_MS);
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
    plan.value = null;
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
    planScale.value = part.length ? whole.length / part.length : 1;
  } catch {
    if (!mine.signal.aborted) plan.value = null;
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
    case "predefined_voice_id":
      return (predefined.value.find((voice) => voice.default) ?? predefined.value[0])?.filename ?? "";
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
    default:
      return engine.value?.controls.find((control) => control.name === name)?.default ?? "";
  }
}

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
  else {
    const voice = String(value("predefined_voice_id"));
    const there = predefined.value.some((one) => one.filename === voice || one.id === voice);
    body["predefined_voice_id"] = there || predefined.value.length === 0 ? voice || null : null;
  }
  const language = params.value["language"];
  if (typeof language === "string" && language) body["language"] = language;
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
export function takeRequest(body: Params, of: string): void {
  const { text: _, tags: __, webhook_url: ___, ...rest } = body;
  params.value = { ...params.value, ...rest };
  storage.setParams(params.value);
  setText(of);
}
