/** The server's HTTP API. Every address is relative, so that the page works below any path. */
import type {
  Dictionary, Engine, InitialData, Listed, Params, Peaks, Plan, Resource, SegmentPage, Session, SettingSection, Status, Voice, Word,
} from "./types";

/** The server said no; `status` 0: it was not reached at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfter: number | null = null,
    /** What is wrong, as a JSON pointer into the body. */
    readonly pointer: string | null = null,
  ) {
    super(message);
  }

  get isOffline(): boolean {
    return this.status === 0;
  }

  /** The job is not there, or not any more. */
  get isGone(): boolean {
    return this.status === 404 || this.status === 410;
  }
}

export interface Call {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

async function send(path: string, call: Call): Promise<Response> {
  const isWhole = call.body instanceof FormData || call.body instanceof Blob;
  const json = call.body === undefined || isWhole ? undefined : JSON.stringify(call.body);
  const headers = { ...(json === undefined ? {} : { "Content-Type": "application/json" }), ...call.headers };
  try {
    return await fetch(path, {
      method: call.method ?? "GET",
      headers,
      body: isWhole ? (call.body as FormData | Blob) : (json ?? null),
      signal: call.signal ?? null,
    });
  } catch (error) {
    if (call.signal?.aborted) throw error;
    throw new ApiError(0, "offline", "The server does not answer.");
  }
}

export async function problemOf(answer: Response): Promise<ApiError> {
  const body: { detail?: unknown; code?: string; errors?: { pointer?: string }[] } = await answer.json().catch(() => ({}));
  const detail = typeof body.detail === "string" ? body.detail : `The server answered ${answer.status}.`;
  const wait = Number(answer.headers.get("Retry-After"));
  const retryAfter = Number.isFinite(wait) && wait > 0 ? wait : null;
  return new ApiError(answer.status, body.code ?? "http_error", detail, retryAfter, body.errors?.[0]?.pointer ?? null);
}

async function json<T>(path: string, call: Call = {}): Promise<T> {
  const answer = await send(path, call);
  if (!answer.ok) throw await problemOf(answer);
  return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
}

const id = encodeURIComponent;

export const urls = {
  live: (job: string, format: string): string => `tts/${id(job)}/audio?format=${format}`,
  result: (job: string, format?: string): string => `tts/${id(job)}/result${format ? `?format=${format}` : ""}`,
  segment: (job: string, n: number): string => `tts/${id(job)}/segments/${n}/audio?format=mp3`,
  subtitles: (job: string, kind: "vtt" | "srt"): string => `tts/${id(job)}/subtitles.${kind}`,
  preview: (voice: string): string => `voices/${id(voice)}/preview`,
};

export interface Filters {
  q?: string;
  status?: string;
  cursor?: string;
  limit?: number;
}

export interface SaveAnswer {
  message: string;
  restart_needed: boolean;
}

export interface UploadAnswer {
  message: string;
  uploaded_files: string[];
  errors: { filename: string; error: string }[];
}

export const api = {
  session: () => json<Session>("session"),
  signIn: (key: string) => json<Session>("session", { method: "POST", body: { key } }),
  signOut: () => json<void>("session", { method: "DELETE" }),

  initialData: () => json<InitialData>("api/ui/initial-data"),
  engines: async () => (await json<{ engines: Engine[] }>("engines")).engines,
  voices: async () => (await json<{ voices: Voice[] }>("voices")).voices,
  renameVoice: (voice: string, name: string) =>
    json<Voice>(`voices/${id(voice)}`, { method: "PATCH", body: { name } }),
  deleteVoice: (voice: string) => json<void>(`voices/${id(voice)}`, { method: "DELETE" }),
  async upload(kind: "reference" | "predefined_voice", files: File[], consent: boolean): Promise<UploadAnswer> {
    const form = new FormData();
    if (consent) form.append("consent", "true");
    for (const file of files) form.append("files", file);
    const answer = await send(`upload_${kind}`, { method: "POST", body: form });
    const problem = answer.clone();
    const body = (await answer.json().catch(() => ({}))) as Partial<UploadAnswer>;
    if (!body.errors) throw await problemOf(problem);
    return body as UploadAnswer;
  },

  plan: (body: Params, signal: AbortSignal) => json<Plan>("tts/plan", { method: "POST", body, signal }),
  enqueue: (body: Params, key: string) =>
    json<{ job_id: string; warnings: string[] }>("tts/enqueue", {
      method: "POST",
      body,
      headers: { "Idempotency-Key": key },
    }),
  /** Answers at once, or at its end, but after `wait` seconds at the latest. */
  status: (job: string, wait = 0) => json<Status>(`tts/${id(job)}/status`, wait ? { headers: { Prefer: `wait=${wait}` } } : {}),
  job: (job: string) => json<Resource>(`tts/${id(job)}`),
  async text(job: string): Promise<string> {
    const answer = await send(`tts/${id(job)}/text`, {});
    if (!answer.ok) throw await problemOf(answer);
    return answer.text();
  },
  segments: (job: string, start: number, limit: number, status?: string) =>
    json<SegmentPage>(`tts/${id(job)}/segments?start=${start}&limit=${limit}${status ? `&status=${status}` : ""}`),
  peaks: (job: string, points: number) => json<Peaks>(`tts/${id(job)}/peaks?points=${points}`),
  cancel: (job: string) => json<{ message: string }>(`tts/${id(job)}`, { method: "DELETE" }),
  purge: (job: string) => json<unknown>(`tts/${id(job)}?purge=true`, { method: "DELETE" }),
  retry: (job: string) => json<Status>(`tts/${id(job)}/retry`, { method: "POST" }),
  keep: (job: string, keep: boolean) => json<Status>(`tts/${id(job)}/keep?keep=${keep}`, { method: "POST" }),
  setPriority: (job: string, priority: string) =>
    json<Resource>(`tts/${id(job)}`, { method: "PATCH", body: { priority } }),
  redo: (job: string, n: number, body: Params) =>
    json<Status & { redo: { job_id: string } }>(`tts/${id(job)}/segments/${n}/redo`, { method: "POST", body }),
  list(filters: Filters): Promise<{ jobs: Listed[]; next_cursor: string | null }> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(filters)) {
      if (!value) continue;
      for (const one of name === "status" ? String(value).split(",") : [String(value)]) query.append(name, one);
    }
    return json(`tts?${query}`);
  },

  dictionary: () => json<Dictionary>("dictionary"),
  addWords: (entries: Word[]) => json<Dictionary>("dictionary", { method: "PATCH", body: { entries } }),
  removeWord: (word: string) => json<Dictionary>(`dictionary/${id(word)}`, { method: "DELETE" }),
  importWords: (lexicon: File) => json<Dictionary>("dictionary/import", { method: "POST", body: lexicon }),

  settings: () => json<{ file: string; sections: SettingSection[] }>("settings"),
  saveSettings: (changes: Record<string, unknown>) =>
    json<SaveAnswer>("save_settings", { method: "POST", body: changes }),
  resetSettings: () => json<SaveAnswer>("reset_settings", { method: "POST" }),
  restartEngine: () => json<SaveAnswer>("restart_server", { method: "POST" }),
  unload: () => json<unknown>("api/unload", { method: "POST" }),
};
