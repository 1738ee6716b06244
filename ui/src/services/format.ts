/** Numbers for people, and small pure helpers. */

/** 75 → "1:15", 3700 → "1:01:40". */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** 40 → "40 s", 90 → "2 min", 5000 → "1 h 23 min". */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** 1500 → "1.5 kB". */
export function size(bytes: number): string {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 1000 || unit === "TB") return `${value >= 10 || unit === "B" ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return "";
}

const plain = new Intl.NumberFormat();

export const number = (value: number): string => plain.format(value);

/** "1 segment", "2 segments". */
export const count = (n: number, word: string): string => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

/** "3 minutes ago", "in 2 hours". */
export function ago(iso: string, now = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const words = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [[60, "second"], [3600, "minute"], [86_400, "hour"], [Infinity, "day"]];
  let divisor = 1;
  for (const [bound, unit] of steps) {
    if (Math.abs(seconds) < bound) return words.format(Math.round(seconds / divisor), unit);
    divisor = bound;
  }
  return "";
}

/** Markdown as it would be read aloud: without its marks. Linear in the length of the text. */
export function plainOfMarkdown(text: string): string {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const kept: string[] = [];
  let fenced = false;
  for (const line of lines) {
    if (/^\s*(```|~~~)/.test(line)) {
      fenced = !fenced;
      continue;
    }
    if (fenced || /^\s*([-*_]\s*){3,}$/.test(line) || /^\s*\[[^\]]{1,200}\]:\s/.test(line)) continue;
    kept.push(
      line
        .replace(/^\s{0,3}#{1,6}\s+/, "")
        .replace(/^\s*>\s?/, "")
        .replace(/^(\s*)([-*+]|\d{1,9}[.)])\s+/, "$1")
        .replace(/!\[([^\]]{0,500})\]\([^)]{0,2000}\)/g, "$1")
        .replace(/\[([^\]]{1,500})\]\([^)]{0,2000}\)/g, "$1")
        .replace(/(\*\*|__)(?=\S)([^*_]{1,2000})\1/g, "$2")
        .replace(/(^|[\s(])[*_](?=\S)([^*_]{1,2000})[*_](?=$|[\s).,;:!?])/g, "$1$2")
        .replace(/`([^`]{1,500})`/g, "$1"),
    );
  }
  return kept.join("\n");
}

/** Why a job failed. The server counts segments from 0 in its message, the page from 1. */
export const cause = (error: string): string => error.replace(/^segment (\d+) /, (_, index) => `segment ${Number(index) + 1} `);

/** The index of the last entry whose start is at or before `at`; -1 when there is none. `starts` is sorted. */
export function lastAtOrBefore(starts: readonly number[], at: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Where a milestone is reached between two percentages: 25, 50, 75, or null. */
export function milestone(before: number, now: number): number | null {
  return [75, 50, 25].find((mark) => before < mark && now >= mark) ?? null;
}

/** A name that nobody else will choose; `crypto.randomUUID` is there on secure pages only. */
export function uniqueName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
