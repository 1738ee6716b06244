/** What runs and what waits, in its order. */
import { useEffect, useState } from "preact/hooks";
import { api } from "../services/api";
import { count, duration } from "../services/format";
import type { Listed } from "../services/types";
import { queue, running } from "../state/jobs";
import { attempt, announce } from "../state/messages";
import { JobRow } from "./JobRow";

const RANK = { running: 0, queued: 1, completed: 2, failed: 2, cancelled: 2 };

function look(): void {
  running.soon();
  queue.soon();
}

/** Each once: between two answers one that waited may have begun. */
function inOrder(jobs: Listed[]): Listed[] {
  return [...new Map(jobs.reverse().map((job) => [job.job_id, job])).values()].sort(
    (a, b) => RANK[a.status] - RANK[b.status] || (a.queue_position ?? 0) - (b.queue_position ?? 0) || a.created_at.localeCompare(b.created_at),
  );
}

export function QueueView() {
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    void running.show({ status: "running" });
    void queue.show({ status: "queued" });
    const timer = setInterval(look, 3_000);
    return () => {
      clearInterval(timer);
      running.hide();
      queue.hide();
    };
  }, []);
  const read = running.jobs.value !== null && queue.jobs.value !== null;
  const jobs = inOrder([...(running.jobs.value ?? []), ...(queue.jobs.value ?? [])]);
  const error = running.error.value ?? queue.error.value;
  const more = [running, queue].filter((list) => list.more.value);
  const chosen = jobs.filter((job) => picked.has(job.job_id));
  const pick = (id: string, on: boolean): void => {
    const next = new Set(picked);
    if (on) next.add(id);
    else next.delete(id);
    setPicked(next);
  };
  const cancelChosen = async (): Promise<void> => {
    await attempt(() => Promise.all(chosen.map((job) => api.cancel(job.job_id))));
    announce(`${count(chosen.length, "job")} cancelled.`);
    setPicked(new Set());
    look();
  };
  return (
    <section class="view" aria-labelledby="queue-title">
      <h1 id="queue-title">Queue</h1>
      {error && <p class="error" role="alert">{error}</p>}
      {read && jobs.length === 0 && <p class="empty">Nothing runs, nothing waits.</p>}
      {jobs.length > 0 && (
        <div class="row acts">
          <label class="check">
            <input type="checkbox" checked={chosen.length === jobs.length} onChange={(event) => setPicked(new Set(event.currentTarget.checked ? jobs.map((job) => job.job_id) : []))} />
            <span>All {count(jobs.length, "job")}{more.length ? " shown here" : ""}</span>
          </label>
          <button type="button" class="end" disabled={!chosen.length} onClick={() => void cancelChosen()}>
            Cancel {chosen.length ? count(chosen.length, "job") : "the chosen"}
          </button>
        </div>
      )}
      {more.length > 0 && (
        <div class="row">
          <span class="hint">More jobs wait: the newest are shown.</span>
          <button type="button" class="quiet" onClick={() => more.forEach((list) => void list.next())}>Show more</button>
        </div>
      )}
      <ol class="jobs roomy">
        {jobs.map((job) => (
          <JobRow key={job.job_id} job={job}>
            <input type="checkbox" aria-label={`Choose: ${job.text_excerpt}`} checked={picked.has(job.job_id)} onChange={(event) => pick(job.job_id, event.currentTarget.checked)} />
            <span class="job-side">
              <span class="hint tabular">
                {job.queue_position === null ? "now" : `no. ${job.queue_position}`}
                {job.eta_seconds ? `, ${duration(job.eta_seconds.p50)}` : ""}
              </span>
              <select aria-label={`Priority: ${job.text_excerpt}`} value={job.priority} onChange={(event) => void attempt(() => api.setPriority(job.job_id, event.currentTarget.value)).then(look)}>
                <option value="interactive">First</option>
                <option value="normal">Normal</option>
                <option value="batch">Later</option>
              </select>
            </span>
          </JobRow>
        ))}
      </ol>
    </section>
  );
}
