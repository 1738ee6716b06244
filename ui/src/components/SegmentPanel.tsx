/** One chosen segment: its text, its sound, and making it again. */
import { useEffect, useState } from "preact/hooks";
import { api } from "../services/api";
import { cause, clock } from "../services/format";
import type { Params, Segment, Status } from "../services/types";
import { cells, cellsVersion, chosen, endOf, jobId, refresh } from "../state/current";
import { announce, messageOf, toast } from "../state/messages";
import { hearSegment, playing, source, stop } from "../state/player";
import { Icon } from "./Icon";

const STATES: Record<string, string> = { pending: "waiting", running: "being spoken", done: "done", failed: "failed" };

export function SegmentPanel({ now }: { now: Status }) {
  const index = chosen.value;
  const state = index === null ? "" : (cellsVersion.value, cells.get(index));
  const [segment, setSegment] = useState<Segment | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    const job = jobId.value;
    if (index === null || job === null) return;
    let current = true;
    setError(null);
    api.segments(job, index, 1).then(
      (page) => current && setSegment(page.segments[0]?.index === index ? page.segments[0] : null),
      (problem: unknown) => current && setError(messageOf(problem)),
    );
    return () => {
      current = false;
    };
  }, [index, state, now.result?.revision]);
  if (index === null) return null;
  const from = source.value;
  const mine = from?.kind === "segment" && from.job === now.job_id && from.index === index && playing.value;
  const shown = segment?.index === index ? segment : null;
  return (
    <div class="segment" role="group" aria-label={`Segment ${index + 1}`}>
      <div class="row">
        <strong>Segment {index + 1}</strong>
        <span class="hint">
          {shown ? STATES[shown.status] : ""}
          {shown?.audio ? `, ${shown.audio.duration_seconds.toFixed(1)} s` : ""}
          {shown?.audio?.start_seconds != null ? ` at ${clock(shown.audio.start_seconds)}` : ""}
          {shown && shown.voice !== now.voice ? `, voice ${shown.voice}` : ""}
        </span>
        <button type="button" class="quiet square end" aria-label="Close the segment" onClick={() => (chosen.value = null)}>
          <Icon name="close" />
        </button>
      </div>
      <blockquote dir="auto">{shown?.text ?? (error || "…")}</blockquote>
      {shown?.error && <p class="error">{shown.error}</p>}
      <div class="row">
        <button type="button" disabled={shown?.audio == null} onClick={() => (mine ? stop() : hearSegment(now.job_id, index))}>
          <Icon name={mine ? "stop" : "play"} /> {mine ? "Stop" : "Hear it"}
        </button>
        {now.status === "completed" && shown && <Again key={`${now.job_id} ${index}`} segment={shown} now={now} />}
      </div>
    </div>
  );
}

function Again({ segment, now }: { segment: Segment; now: Status }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState(segment.text);
  const [busy, setBusy] = useState(false);
  const make = async (): Promise<void> => {
    const body: Params = text.trim() !== segment.text.trim() ? { text } : {};
    setBusy(true);
    try {
      const { redo } = await api.redo(now.job_id, segment.index, body);
      const made = await endOf(redo.job_id);
      if (made.status === "completed") {
        await refresh();
        setOpen(false);
        announce(`Segment ${segment.index + 1} was made again.`);
      } else toast(made.error ? cause(made.error) : `Segment ${segment.index + 1} was not made again: that was cancelled.`, "error");
    } catch (problem) {
      toast(messageOf(problem), "error");
    }
    setBusy(false);
  };
  if (!open)
    return (
      <button type="button" class="quiet" onClick={() => setOpen(true)}>
        <Icon name="redo" /> Make it again
      </button>
    );
  return (
    <div class="again">
      <label class="field">
        <span>Its words (another way of speaking is drawn)</span>
        <textarea rows={3} dir="auto" value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <div class="row end">
        <button type="button" class="quiet" onClick={() => setOpen(false)} disabled={busy}>Never mind</button>
        <button type="button" onClick={() => void make()} disabled={busy || !text.trim()}>{busy ? "Speaking…" : "Make it"}</button>
      </div>
    </div>
  );
}
