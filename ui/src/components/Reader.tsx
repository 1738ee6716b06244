/** The text in step with the sound. Holds a window of segments around what is heard, so that a book costs no more than a page. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../services/api";
import { lastAtOrBefore } from "../services/format";
import type { Segment, Status } from "../services/types";
import { messageOf } from "../state/messages";

const WINDOW = 120;
const BEFORE = 30;
const GUESSES = 6;

interface Props {
  now: Status;
  revision: number;
  /** Where the sound is, seconds; null: it is elsewhere. */
  at: number | null;
  ready: (at: number) => void;
}

const startOf = (segment: Segment): number => segment.audio?.start_seconds ?? 0;

/** The segments around a moment. Places grow nearly evenly with the index, so that a few guesses find it. */
async function around(job: string, at: number, length: number, total: number): Promise<Segment[]> {
  let low = 0;
  let high = total - 1;
  let guess = Math.min(high, Math.floor((at / Math.max(length, 0.1)) * total));
  for (let tries = 0; ; tries++) {
    const start = Math.max(0, guess - BEFORE);
    const { segments } = await api.segments(job, start, WINDOW);
    const [first, last] = [segments[0], segments[segments.length - 1]];
    if (!first || !last || tries >= GUESSES) return segments;
    if (at < startOf(first) && start > 0) {
      high = start - 1;
      guess = Math.max(low, Math.min(high, Math.floor((start * at) / Math.max(startOf(first), 0.1))));
    } else if (at >= (last.audio?.end_seconds ?? Infinity) && last.index < total - 1) {
      low = last.index + 1;
      const rest = (at - startOf(last)) / Math.max(length - startOf(last), 0.1);
      guess = Math.min(high, Math.max(low, Math.floor(last.index + rest * (total - last.index))));
    } else return segments;
  }
}

export function Reader({ now, revision, at, ready }: Props) {
  const [segments, setSegments] = useState<Segment[]>([]);
  const [error, setError] = useState<string | null>(null);
  const asking = useRef(false);
  const list = useRef<HTMLDivElement>(null);
  const total = now.segments.total;
  const length = now.result?.audio_seconds ?? 0;
  const moment = at ?? 0;
  const show = (load: () => Promise<Segment[]>): void => {
    if (asking.current) return;
    asking.current = true;
    load()
      .then((found) => (setSegments(found), setError(null)))
      .catch((problem: unknown) => setError(messageOf(problem)))
      .finally(() => (asking.current = false));
  };
  useEffect(() => show(() => around(now.job_id, moment, length, total)), [now.job_id, revision]);
  const starts = segments.map(startOf);
  const current = at === null ? -1 : lastAtOrBefore(starts, at + 0.01);
  const [first, last] = [segments[0], segments[segments.length - 1]];
  useEffect(() => {
    if (at === null || !first || !last) return;
    const outside = (at < startOf(first) - 0.05 && first.index > 0) || (at > (last.audio?.end_seconds ?? Infinity) && last.index < total - 1);
    if (outside) show(() => around(now.job_id, at, length, total));
  }, [at]);
  useEffect(() => {
    const box = list.current;
    const line = box?.querySelector<HTMLElement>('[aria-current="true"]');
    if (!box || !line) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const top = line.offsetTop - box.clientHeight / 3;
    if (Math.abs(box.scrollTop - top) > box.clientHeight / 4) box.scrollTo({ top, behavior: calm ? "auto" : "smooth" });
  }, [current, first?.index]);
  const page = (start: number): void => show(async () => (await api.segments(now.job_id, Math.max(0, start), WINDOW)).segments);
  return (
    <div class="reader">
      <h3>Text</h3>
      {error && <p class="error">{error}</p>}
      <div ref={list} class="lines" tabIndex={0} role="region" aria-label="Text in step with the sound">
        {first && first.index > 0 && (
          <button type="button" class="quiet" onClick={() => page(first.index - WINDOW + BEFORE)}>Earlier</button>
        )}
        <div dir="auto">
          {segments.map((segment, index) => (
            <span key={segment.index}>
              <button type="button" class="line" aria-current={index === current ? "true" : undefined} onClick={() => segment.audio?.start_seconds != null && ready(segment.audio.start_seconds + 0.001)}>
                {segment.text}
              </button>
              {segment.boundary === "paragraph" || segment.boundary === "heading" ? <br class="para" /> : " "}
            </span>
          ))}
        </div>
        {last && last.index < total - 1 && (
          <button type="button" class="quiet" onClick={() => page(last.index - BEFORE)}>Later</button>
        )}
      </div>
    </div>
  );
}
