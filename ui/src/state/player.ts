/** The one sound of the page: what plays, where it is, and how fast. Owns the audio element. */
import { batch, signal } from "@preact/signals";
import { urls } from "../services/api";
import { toast } from "./messages";

export type Source =
  | { kind: "live"; job: string }
  | { kind: "result"; job: string; revision: number }
  | { kind: "segment"; job: string; index: number }
  | { kind: "preview"; voice: string };

export const source = signal<Source | null>(null);
export const playing = signal(false);
/** It would play, but has to wait for sound that is not made yet. */
export const waiting = signal(false);
export const time = signal(0);
export const rate = signal(1);
/** Why the sound that was asked for last is not heard. */
export const failure = signal<string | null>(null);

export const audio = document.createElement("audio");
audio.id = "sound";
audio.preload = "metadata";

const LIVE = [["mp3", "audio/mpeg"], ["aac", "audio/aac"], ["opus", 'audio/ogg; codecs="opus"'], ["wav", "audio/wav"]] as const;

/** The first format that this browser plays while it comes in. */
export const liveFormat = (): string => LIVE.find(([, type]) => audio.canPlayType(type) !== "")?.[0] ?? "mp3";

/** A finished file as it is, or as MP3 where the browser cannot play its format. */
function playable(job: string, format: string, revision: number): string {
  const types: Record<string, string> = { wav: "audio/wav", mp3: "audio/mpeg", flac: "audio/flac", opus: 'audio/ogg; codecs="opus"' };
  const own = audio.canPlayType(types[format] ?? "") !== "";
  const url = own ? urls.result(job) : urls.result(job, "mp3");
  return revision > 1 ? `${url}${url.includes("?") ? "&" : "?"}revision=${revision}` : url;
}

const on = (name: keyof HTMLMediaElementEventMap, call: () => void): void => audio.addEventListener(name, call);
on("play", () => (playing.value = true));
on("pause", () => (playing.value = false));
on("playing", () => (waiting.value = false));
on("waiting", () => (waiting.value = !audio.ended));
on("timeupdate", () => (time.value = audio.currentTime));
on("seeked", () => (time.value = audio.currentTime));
on("ended", () =>
  batch(() => {
    playing.value = false;
    waiting.value = false;
  }),
);
on("ratechange", () => (rate.value = audio.playbackRate));
on("error", () => {
  if (audio.error && source.value) fail(source.value.kind === "live" ? "The sound broke off." : "The sound cannot be played.");
});

/** The player of a finished job says itself what is wrong with its sound. */
function fail(why: string): void {
  batch(() => {
    playing.value = false;
    waiting.value = false;
    failure.value = why;
    if (source.value?.kind !== "result") toast(why, "error");
  });
}

function load(next: Source, url: string, at = 0): void {
  batch(() => {
    source.value = next;
    failure.value = null;
    time.value = at;
    waiting.value = false;
  });
  audio.src = url;
  audio.playbackRate = audio.defaultPlaybackRate = rate.value;
  if (at > 0) audio.currentTime = at;
}

export async function play(): Promise<void> {
  try {
    await audio.play();
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") fail("The browser wants a click before it plays.");
  }
}

export const pause = (): void => audio.pause();

export function toggle(): void {
  if (audio.paused) void play();
  else pause();
}

/** Listen to a job from its first take on, while it is made. */
export function listen(job: string): void {
  waiting.value = true;
  load({ kind: "live", job }, urls.live(job, liveFormat()));
  waiting.value = true;
  void play();
}

/** Have a finished job ready, at a place; keeps playing if it plays. */
export function loadResult(job: string, format: string, revision: number, at = 0): void {
  load({ kind: "result", job, revision }, playable(job, format, revision), at);
}

export function hearSegment(job: string, index: number): void {
  load({ kind: "segment", job, index }, urls.segment(job, index));
  void play();
}

export function hearVoice(voice: string): void {
  load({ kind: "preview", voice }, urls.preview(voice));
  waiting.value = true;
  void play();
}

export function seek(seconds: number): void {
  audio.currentTime = Math.max(0, seconds);
  time.value = audio.currentTime;
}

export function skip(seconds: number): void {
  seek(audio.currentTime + seconds);
}

export function setRate(value: number): void {
  audio.playbackRate = audio.defaultPlaybackRate = value;
  rate.value = value;
}

export function stop(): void {
  audio.pause();
  source.value = null;
  audio.removeAttribute("src");
  audio.load();
}
