/** What this browser remembers. Names of the current job are those of docs and of the old page. */
import type { Params, Preset } from "./types";

const JOB = "tts_current_job_id";
const STARTED = "tts_job_start_time";
const PARAMS = "tts_job_params";
const SETTINGS = "rhapsode_params";
const PRESETS = "rhapsode_presets";
const THEME = "rhapsode_theme";
const MOST_TEXT = 20_000;

export interface StoredJob {
  id: string;
  startedAt: number;
  params: Params;
}

function read<T>(name: string): T | null {
  try {
    const text = localStorage.getItem(name);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

function write(name: string, value: unknown): void {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // the store is full or forbidden: the page works without it
  }
}

export const storage = {
  job(): StoredJob | null {
    try {
      const id = localStorage.getItem(JOB);
      if (!id) return null;
      return { id, startedAt: Number(localStorage.getItem(STARTED)) || Date.now(), params: read<Params>(PARAMS) ?? {} };
    } catch {
      return null;
    }
  },
  setJob(id: string, startedAt: number, params: Params): void {
    const text = typeof params["text"] === "string" ? params["text"].slice(0, MOST_TEXT) : "";
    try {
      localStorage.setItem(JOB, id);
      localStorage.setItem(STARTED, String(startedAt));
    } catch {
      return;
    }
    write(PARAMS, { ...params, text });
  },
  clearJob(): void {
    for (const name of [JOB, STARTED, PARAMS]) localStorage.removeItem(name);
  },
  params: () => read<Params>(SETTINGS) ?? {},
  setParams: (params: Params) => write(SETTINGS, params),
  presets: () => read<Preset[]>(PRESETS) ?? [],
  setPresets: (presets: Preset[]) => write(PRESETS, presets),
  theme: () => read<string>(THEME),
  setTheme: (theme: string | null) => (theme === null ? localStorage.removeItem(THEME) : write(THEME, theme)),
};

/** The text that is being written, whatever its size: IndexedDB holds what localStorage cannot. */
export const draft = {
  async load(): Promise<string> {
    const db = await open();
    return db ? ((await settle(db.transaction("kept").objectStore("kept").get("draft"))) as string | undefined) ?? "" : "";
  },
  async save(text: string): Promise<void> {
    const db = await open();
    if (db) await settle(db.transaction("kept", "readwrite").objectStore("kept").put(text, "draft"));
  },
};

let opened: Promise<IDBDatabase | null> | null = null;

function open(): Promise<IDBDatabase | null> {
  opened ??= new Promise((done) => {
    try {
      const asked = indexedDB.open("rhapsode", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore("kept");
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => done(null);
    } catch {
      done(null);
    }
  });
  return opened;
}

function settle(asked: IDBRequest): Promise<unknown> {
  return new Promise((done, failed) => {
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  });
}
