/** A finished job: its waveform, its text in step with its sound, and its files. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api, urls } from "../services/api";
import { clock } from "../services/format";
import type { Status } from "../services/types";
import { messageOf } from "../state/messages";
import { audio, failure, loadResult, play, playing, rate, seek, setRate, skip, source, stop, time, toggle } from "../state/player";
import { theme } from "../state/theme";
import { Icon } from "./Icon";
import { Reader } from "./Reader";

const RATES = [0.75, 1, 1.25, 1.5, 1.75, 2];
const POINTS = 1200;
const SKIP_S = 15;

export function Player({ now }: { now: Status }) {
  const revision = now.result?.revision ?? 1;
  const length = now.result?.audio_seconds ?? now.audio_seconds;
  const from = source.value;
  const mine = from?.kind === "result" && from.job === now.job_id;
  const live = from?.kind === "live" && from.job === now.job_id;
  const broken = failure.value !== null;
  /** Have the file ready; a live stream that plays goes on until the listener moves. */
  const ready = (at?: number): void => {
    const current = source.value;
    if (current?.kind === "result" && current.job === now.job_id && current.revision === revision && failure.value === null) {
      if (at !== undefined) seek(at);
      return;
    }
    const wasHere = current?.kind !== "segment" && current?.kind !== "preview" && current?.job === now.job_id;
    const goesOn = wasHere && !audio.paused;
    loadResult(now.job_id, now.output_format, revision, at ?? (wasHere ? audio.currentTime : 0));
    if (goesOn) void play();
  };
  useEffect(() => {
    const current = source.value;
    if (current === null || (current.kind === "result" && (current.job !== now.job_id || current.revision !== revision))) ready();
  }, [now.job_id, revision]);
  useEffect(() => () => {
    if (source.value?.kind === "result" && source.value.job === now.job_id) stop();
  }, []);
  const begin = (): void => {
    if ((mine || live) && !broken) return toggle();
    ready();
    void play();
  };
  const plays = (mine || live) && playing.value;
  return (
    <div class="player" role="group" aria-label="Player">
      <Wave now={now} length={length} revision={revision} ready={ready} />
      <div class="controls">
        <button type="button" class="quiet square" aria-label={`Back ${SKIP_S} seconds`} onClick={() => (ready(), skip(-SKIP_S))}><Icon name="back" /></button>
        <button type="button" class="primary round" aria-label={plays ? "Pause" : "Play"} onClick={begin}>
          <Icon name={plays ? "pause" : "play"} />
        </button>
        <button type="button" class="quiet square" aria-label={`Forward ${SKIP_S} seconds`} onClick={() => (ready(), skip(SKIP_S))}><Icon name="forward" /></button>
        <span class="tabular place">
          {clock(mine || live ? time.value : 0)} / {clock(length)}
        </span>
        <label class="inline end">
          <span class="sr">Speed of the player</span>
          <select value={String(rate.value)} onChange={(event) => setRate(Number(event.currentTarget.value))}>
            {RATES.map((one) => <option key={one} value={String(one)}>{one} ×</option>)}
          </select>
        </label>
      </div>
      {mine && broken && <p class="error" role="alert">{failure.value}</p>}
      <Downloads now={now} />
      <Reader now={now} revision={revision} at={mine || live ? time.value : null} ready={ready} />
    </div>
  );
}

function Wave({ now, length, revision, ready }: { now: Status; length: number; revision: number; ready: (at?: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    let gone = false;
    let wave: { destroy(): void } | null = null;
    const draw = async (): Promise<void> => {
      const [{ default: WaveSurfer }, peaks] = await Promise.all([import("wavesurfer.js"), api.peaks(now.job_id, POINTS)]);
      if (gone || !box.current) return;
      const style = getComputedStyle(box.current);
      const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "";
      const made = WaveSurfer.create({
        container: box.current,
        height: 72,
        peaks: [peaks.max, peaks.min],
        duration: peaks.duration_seconds || length,
        waveColor: style.getPropertyValue("--wave").trim(),
        progressColor: style.getPropertyValue("--accent").trim(),
        cursorColor: style.getPropertyValue("--ink").trim(),
        barWidth: 2,
        barGap: 1,
        barRadius: 2,
        normalize: true,
        interact: true,
        cspNonce: nonce,
      });
      wave = made;
      made.on("interaction", (at: number) => ready(at));
      const follow = (): void => {
        const current = source.value;
        const here = (current?.kind === "result" || current?.kind === "live") && current.job === now.job_id;
        made.setTime(here ? Math.min(audio.currentTime, made.getDuration()) : 0);
      };
      audio.addEventListener("timeupdate", follow);
      audio.addEventListener("seeked", follow);
      made.on("destroy", () => {
        audio.removeEventListener("timeupdate", follow);
        audio.removeEventListener("seeked", follow);
      });
      follow();
    };
    draw().catch((problem: unknown) => setError(messageOf(problem)));
    return () => {
      gone = true;
      wave?.destroy();
    };
  }, [now.job_id, revision, theme.value]);
  return (
    <div class="wave-box">
      <div ref={box} class="wave" aria-hidden="true" />
      <input
        class="wave-slider"
        type="range"
        aria-label="Place in the audio"
        min={0}
        max={Math.max(length, 0.1)}
        step={0.1}
        value={Math.min(time.value, length)}
        aria-valuetext={`${clock(time.value)} of ${clock(length)}`}
        onInput={(event) => ready(Number(event.currentTarget.value))}
      />
      {error && <p class="hint">{error}</p>}
    </div>
  );
}

function Downloads({ now }: { now: Status }) {
  const formats = ["wav", "mp3", "opus", "flac", "aac"];
  return (
    <div class="downloads">
      <a class="button" href={urls.result(now.job_id)} download>
        <Icon name="download" /> Download {now.output_format.toUpperCase()}
      </a>
      <details>
        <summary>Other formats and subtitles</summary>
        <p class="row wrap">
          {formats.filter((one) => one !== now.output_format).map((one) => (
            <a key={one} class="button quiet" href={urls.result(now.job_id, one)} download>{one.toUpperCase()}</a>
          ))}
          <a class="button quiet" href={urls.subtitles(now.job_id, "vtt")} download={`${now.job_id}.vtt`}>WebVTT</a>
          <a class="button quiet" href={urls.subtitles(now.job_id, "srt")} download={`${now.job_id}.srt`}>SubRip</a>
        </p>
      </details>
    </div>
  );
}
