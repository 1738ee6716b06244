/** What the server is and offers: who we are to it, its engines, voices, presets. */
import { computed, signal } from "@preact/signals";
import { api, ApiError } from "../services/api";
import type { Engine, InitialData, Session, Voice } from "../services/types";

export const session = signal<Session | null>(null);
export const initial = signal<InitialData | null>(null);
/** Those that can be spoken with. */
export const engines = signal<Engine[]>([]);
/** The active one: who names none gets it. */
export const engine = computed(() => engines.value.find((one) => one.active) ?? null);
export const voices = signal<Voice[]>([]);
/** Events come as they happen. */
export const live = signal(true);
export const offline = signal(false);
/** Why the page cannot begin. */
export const broken = signal<string | null>(null);

export const mustSignIn = computed(() => session.value !== null && session.value.auth_required && !session.value.signed_in);
export const predefined = computed(() => voices.value.filter((voice) => voice.kind === "predefined"));
export const recordings = computed(() => voices.value.filter((voice) => voice.kind === "reference"));
export const mayAdmin = computed(() => session.value?.scopes.includes("admin") ?? false);

/** Anybody on the network may do everything. */
export const isOpenToAll = computed(() => {
  const host = initial.value?.config.server.host ?? "127.0.0.1";
  const local = host === "localhost" || host === "::1" || host.startsWith("127.");
  return !local && session.value?.auth_required === false;
});

export async function loadVoices(): Promise<void> {
  voices.value = await api.voices();
}

const STARTING_MS = 2_000;
let starting: number | undefined;

export async function loadEngine(): Promise<void> {
  const before = engines.value.filter(isStarting).length;
  engines.value = (await api.engines()).filter((one) => one.active || one.offered);
  if (engines.value.filter(isStarting).length < before) await loadVoices();
  clearTimeout(starting);
  if (engines.value.some(isStarting)) starting = window.setTimeout(() => void loadEngine().catch(() => undefined), STARTING_MS);
}

/** It has not said yet what it can do. */
function isStarting(one: Engine): boolean {
  return one.can_clone === null && one.state === "starting";
}

/** Everything the page needs before it can be used. */
export async function begin(): Promise<void> {
  try {
    session.value = await api.session();
    if (mustSignIn.value) return;
    const [data] = await Promise.all([api.initialData(), loadEngine(), loadVoices().catch(() => undefined)]);
    initial.value = data;
    document.title = data.config.ui.title;
    broken.value = null;
    offline.value = false;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      session.value = { signed_in: false, auth_required: true, owner: null, scopes: [] };
      return;
    }
    offline.value = error instanceof ApiError && error.isOffline;
    broken.value = error instanceof Error ? error.message : String(error);
  }
}

/** Note from any answer whether the server is there and knows us. */
export function heed(error: unknown): void {
  if (!(error instanceof ApiError)) return;
  if (error.isOffline) offline.value = true;
  if (error.status === 401) session.value = { signed_in: false, auth_required: true, owner: null, scopes: [] };
}
