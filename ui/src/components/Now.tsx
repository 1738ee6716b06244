/** The job that is shown: how far it is, its segments, its sound. */
import { useEffect } from "preact/hooks";
import { ago, cause, clock, count, duration, number, size } from "../services/format";
import type { Status } from "../services/types";
import { cancel, isOver, jobId, keep, leave, lost, refreshSoon, retry, status } from "../state/current";
import { failure, listen, pause, play, playing, source, time, waiting } from "../state/player";
import { Icon } from "./Icon";
import { Player } from "./Player";
import { SegmentPanel } from "./SegmentPanel";
import { Strip } from "./Strip";

const WORDS: Record<Status["status"], string> = {
  queued: "Waiting",
  running: "Speaking",
  completed: "Finished",
  failed: "Failed",
  cancelled: "Cancelled",
};

const WAITS: Record<string, string> = {
  "engine starting": "The engine is starting.",
  "engine unloaded": "The engine is unloaded. Load it in the settings to go on.",
  "disk space": "The disk is full. Work goes on by itself when there is room.",
  "server stopping": "The server is stopping. Work goes on when it is back.",
};

/** Its place in the queue and its time of arrival change without an event of its own. */
const LOOK_MS = 2_500;

export function Now() {
  const now = status.value;
  return (
    <section class="card now" aria-labelledby="now-title" aria-busy={jobId.value !== null && now === null}>
      {now === null ? <Nothing /> : <Running now={now} />}
    </section>
  );
}

function Nothing() {
  return (
    <div class="nothing">
      <h2 id="now-title">{jobId.value === null ? "Nothing is being spoken" : "Looking for your job…"}</h2>
      <p>{lost.value ?? (jobId.value === null ? "What you generate appears here. You may close this page meanwhile: the work goes on, and it is here again when you come back." : "")}</p>
    </div>
  );
}

function Running({ now }: { now: Status }) {
  const over = isOver(now);
  useEffect(() => {
    if (over) return;
    const timer = setInterval(() => document.hidden || refreshSoon(), LOOK_MS);
    return () => clearInterval(timer);
  }, [over]);
  return (
    <>
      <header class="now-head">
        <h2 id="now-title" class={`state ${now.status}`}>
          {WORDS[now.status]}
        </h2>
        <span class="percent">{now.status === "completed" ? "" : `${Math.floor(now.progress)} %`}</span>
        <div class="row end">
          {!over && <ListenButton now={now} />}
          {!over && <button type="button" onClick={() => void cancel()}>Cancel</button>}
          {now.status === "completed" && (
            <button type="button" class="quiet" aria-pressed={now.kept} onClick={() => void keep(!now.kept)}>
              <Icon name="pin" /> {now.kept ? "Kept" : "Keep"}
            </button>
          )}
          {over && <button type="button" class="quiet" onClick={() => leave()}>Close</button>}
        </div>
      </header>
      {!over && (
        <div
          class="bar"
          role="progressbar"
          aria-label="Progress of the job"
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.floor(now.progress)}
        >
          <progress max={100} value={now.progress} aria-hidden="true" />
        </div>
      )}
      <Facts now={now} />
      {(now.status === "failed" || now.status === "cancelled") && <Ended now={now} />}
      <Strip now={now} />
      <SegmentPanel now={now} />
      {now.status === "completed" && <Player key={now.job_id} now={now} />}
      {now.warnings.length > 0 && (
        <details class="warnings">
          <summary>{count(now.warnings.length, "note")}</summary>
          <ul>{now.warnings.map((one) => <li key={one}>{one}</li>)}</ul>
        </details>
      )}
    </>
  );
}

function Facts({ now }: { now: Status }) {
  const facts: [string, string][] = [];
  const { total, done, planned } = now.segments;
  facts.push(["Segments", total ? `${number(done)} of ${planned ? "" : "at least "}${number(total)}` : "–"]);
  if (now.status === "queued" || now.status === "running") {
    if (now.status === "queued") facts.push(["Place in the queue", now.queue_position === null ? "–" : number(now.queue_position)]);
    else facts.push(["Elapsed", clock(now.elapsed_sec ?? 0)]);
    facts.push(["Ready in about", now.eta_seconds ? duration(now.eta_seconds.p50) : "–"]);
    facts.push(["Spoken so far", clock(now.audio_seconds)]);
  } else {
    facts.push(["Took", clock(now.elapsed_sec ?? 0)]);
    facts.push(["Audio", clock(now.result?.audio_seconds ?? now.audio_seconds)]);
    if (now.result) facts.push(["File", `${now.output_format.toUpperCase()}, ${size(now.result.bytes)}`]);
  }
  const rtf = now.metrics.realtime_factor;
  facts.push(["RTF", rtf === null ? "–" : rtf.toFixed(3)]);
  return (
    <>
      <dl class="facts">
        {facts.map(([name, said]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{said}</dd>
          </div>
        ))}
      </dl>
      <p class="hint steady">
        {now.waiting_for
          ? (WAITS[now.waiting_for] ?? `Waits: ${now.waiting_for}.`)
          : now.status === "completed" && !now.kept && now.expires_at
            ? `Will be deleted ${ago(now.expires_at)}, unless it is kept.`
            : `${now.voice}, seed ${now.seed}${now.run > 1 ? `, run ${now.run}` : ""}`}
      </p>
    </>
  );
}

function Ended({ now }: { now: Status }) {
  return (
    <div class={now.status === "failed" ? "failure" : "failure calm"} role={now.status === "failed" ? "alert" : undefined}>
      <p>{now.status === "failed" ? cause(now.error ?? "The cause is unknown.") : "What was spoken is kept until the job expires."}</p>
      <button type="button" onClick={() => void retry()}>
        <Icon name="redo" /> {now.status === "failed" ? "Retry from here" : "Go on from here"}
      </button>
    </div>
  );
}

function ListenButton({ now }: { now: Status }) {
  const from = source.value;
  const mine = from?.kind === "live" && from.job === now.job_id;
  if (mine && failure.value === null) {
    return (
      <button type="button" class="quiet" onClick={() => (playing.value ? pause() : void play())}>
        <Icon name={playing.value ? "pause" : "play"} />
        {playing.value ? (waiting.value ? "Waiting for more" : "Pause") : "Go on"} <span class="tabular">{clock(time.value)}</span>
      </button>
    );
  }
  return (
    <button type="button" class="quiet" onClick={() => listen(now.job_id)}>
      <Icon name="ear" /> Listen
    </button>
  );
}
