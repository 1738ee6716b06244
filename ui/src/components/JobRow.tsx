/** One job in a list. */
import type { ComponentChildren } from "preact";
import { api } from "../services/api";
import { ago, cause, clock, size } from "../services/format";
import type { Listed, Params } from "../services/types";
import { takeRequest } from "../state/compose";
import { jobId, leave, show, submit } from "../state/current";
import { attempt, toast } from "../state/messages";
import { address, route } from "../state/route";
import { engines } from "../state/server";
import { Icon } from "./Icon";

export const STATE_WORDS: Record<Listed["status"], string> = {
  queued: "waiting",
  running: "speaking",
  completed: "finished",
  failed: "failed",
  cancelled: "cancelled",
};

export async function open(job: string): Promise<void> {
  if (route.value.view !== "studio") location.hash = address("studio");
  await show(job);
  document.getElementById("now-title")?.scrollIntoView({ block: "center" });
}

/** What a job was asked for, with its text, of its own engine where that is still there. */
async function requestOf(id: string): Promise<Params & { text: string }> {
  const [found, text] = await Promise.all([api.job(id), api.text(id)]);
  const own = engines.value.some((one) => one.name === found.engine) ? { engine: found.engine } : {};
  return { ...found.request, ...own, text };
}

async function rerun(job: Listed): Promise<void> {
  await attempt(async () => {
    if (await submit(await requestOf(job.job_id))) location.hash = address("studio");
    else toast("It could not be queued again.", "error");
  });
}

async function edit(job: Listed): Promise<void> {
  await attempt(async () => {
    const asked = await requestOf(job.job_id);
    location.hash = address("studio");
    requestAnimationFrame(() => takeRequest(asked));
  });
}

async function remove(job: Listed): Promise<void> {
  if (!confirm("Delete this job with its text and audio for good?")) return;
  await attempt(async () => {
    await api.purge(job.job_id);
    if (jobId.value === job.job_id) leave();
  });
}

export function JobRow({ job, full = false, children }: { job: Listed; full?: boolean; children?: ComponentChildren }) {
  const facts = [
    job.result ? clock(job.result.audio_seconds) : "",
    job.result && full ? `${job.output_format.toUpperCase()} ${size(job.result.bytes)}` : "",
    job.voice,
    ago(job.created_at),
    full && job.kept ? "kept" : "",
    full && !job.kept && job.expires_at ? `expires ${ago(job.expires_at)}` : "",
  ].filter(Boolean);
  const unfinished = job.status === "queued" || job.status === "running";
  return (
    <li class={jobId.value === job.job_id ? "job current" : "job"} data-job={job.job_id}>
      {children}
      <button type="button" class="job-main" onClick={() => void open(job.job_id)}>
        <span class="job-text" dir="auto">{job.text_excerpt || "(no text)"}</span>
        <span class="job-facts">
          <span class={`dot ${job.status}`} aria-hidden="true" />
          {STATE_WORDS[job.status]}
          {unfinished ? ` ${Math.floor(job.progress)} %` : ""} · {facts.join(" · ")}
        </span>
        {full && job.error && <span class="job-error">{cause(job.error)}</span>}
      </button>
      {full && (
        <span class="job-acts">
          <button type="button" class="quiet square" aria-label="Use its text and settings" title="Use its text and settings" onClick={() => void edit(job)}><Icon name="edit" /></button>
          <button type="button" class="quiet square" aria-label="Run it again" title="Run it again" onClick={() => void rerun(job)}><Icon name="redo" /></button>
          <button type="button" class="quiet square" aria-label="Delete" title="Delete" onClick={() => void remove(job)}><Icon name="trash" /></button>
        </span>
      )}
    </li>
  );
}
