/** What the server answers, as far as the page reads it. See docs/api.md. */

export type JobState = "queued" | "running" | "completed" | "failed" | "cancelled";
export type Priority = "interactive" | "normal" | "batch";

export interface Status {
  job_id: string;
  status: JobState;
  progress: number;
  current_chunk: number;
  total_chunks: number;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
  elapsed_sec: number | null;
  error: string | null;
  queue_position: number | null;
  eta_seconds: { p50: number; p90: number } | null;
  run: number;
  segments: { done: number; failed: number; total: number; planned: boolean };
  chars: { done: number; total: number };
  audio_seconds: number;
  metrics: {
    queue_seconds: number;
    synth_seconds: number;
    realtime_factor: number | null;
    first_audio_seconds: number | null;
  };
  priority: Priority;
  tags: string[];
  seed: number;
  engine: string;
  voice: string;
  output_format: string;
  warnings: string[];
  waiting_for: string | null;
  expires_at: string | null;
  kept: boolean;
  result: { bytes: number; audio_seconds: number; revision: number } | null;
}

export interface Listed extends Status {
  text_excerpt: string;
  batch_id: string | null;
  custom_id: string | null;
}

export type Params = Record<string, string | number | boolean | string[] | null>;

export interface Resource extends Listed {
  request: Params;
}

export type SegmentState = "pending" | "running" | "done" | "failed";

export interface Segment {
  index: number;
  status: SegmentState;
  text: string;
  start: number;
  end: number;
  chars: number;
  boundary: string;
  voice: string;
  pause_before_seconds: number | null;
  speed: number;
  attempt: number;
  failures: number;
  variant: number;
  error: string | null;
  audio: { start_seconds: number | null; end_seconds: number | null; duration_seconds: number } | null;
}

export interface SegmentPage {
  segments: Segment[];
  next_start: number | null;
  total: number;
  plan_done: boolean;
}

export interface Plan {
  totals: { segments: number; chars: number; spoken_chars: number };
  audio_seconds: number | null;
  eta_seconds: { p50: number; p90: number } | null;
  disk_bytes: number | null;
  warnings: string[];
}

export interface Voice {
  id: string;
  kind: "predefined" | "reference";
  name: string;
  filename: string;
  engine: string | null;
  language: string | null;
  language_name: string | null;
  sample_rate: number | null;
  bytes: number | null;
  consent: "given" | "unknown" | null;
  default: boolean;
  editable: boolean;
}

/** How a word is spoken. */
export interface Word {
  word: string;
  say?: string;
  ipa?: string;
  language?: string;
  match_case?: boolean;
}

export interface Dictionary {
  entries: Word[];
  warnings: string[];
}

export interface Control {
  name: string;
  minimum: number;
  maximum: number;
  default: number;
  help: string;
}

export interface Engine {
  name: string;
  active: boolean;
  offered: boolean;
  state: string | null;
  can_clone: boolean | null;
  controls: Control[];
  tags: string[];
  languages: Record<string, string>;
  device: string | null;
}

export interface Preset {
  name: string;
  text?: string;
  params?: Params;
}

export interface InitialData {
  config: {
    server: { host: string };
    ui: { title: string; show_language_select: boolean };
    generation_defaults: { seed: number; language: string };
    audio_output: { format: string; max_reference_duration_sec: number };
    tts_engine: { default_voice_id: string };
    limits: { max_text_chars: number };
    job_queue: { job_ttl_hours: number };
  };
  presets: Preset[];
}

export interface Session {
  signed_in: boolean;
  auth_required: boolean;
  owner: string | null;
  scopes: string[];
}

export interface Setting {
  key: string;
  value: unknown;
  default: unknown;
  type: string;
  choices: string[];
  minimum: number | null;
  maximum: number | null;
  unit: string;
  special: string;
  help: string;
  named: boolean;
  file_only: boolean;
  restart: boolean;
}

export interface SettingSection {
  name: string;
  help: string;
  settings: Setting[];
}

export interface JobEvent {
  job_id: string;
  seq: number;
  type: string;
  data: Record<string, unknown>;
}

export interface Peaks {
  points: number;
  duration_seconds: number;
  min: number[];
  max: number[];
}
