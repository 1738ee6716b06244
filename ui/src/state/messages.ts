/** What the page says: aloud to screen readers, and in passing at its lower edge. */
import { signal } from "@preact/signals";
import { ApiError } from "../services/api";

export const announcement = signal("");

export interface Toast {
  id: number;
  text: string;
  kind: "info" | "error";
}

export const toasts = signal<Toast[]>([]);

const SHOWN_MS = 8_000;
let last = 0;

/** Say something to those who listen to the page. */
export function announce(text: string): void {
  announcement.value = announcement.value === text ? `${text}\u00a0` : text;
}

export function toast(text: string, kind: Toast["kind"] = "info"): void {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-2), { id, text, kind }];
  if (kind === "info") setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

export function messageOf(error: unknown): string {
  if (error instanceof ApiError || error instanceof Error) return error.message;
  return String(error);
}

/** Do something, and say so when it fails. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    toast(messageOf(error), "error");
    return undefined;
  }
}
