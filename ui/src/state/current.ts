/** The job that the page shows: the only owner of its status and of the strip of its segments. */
import { batch, signal } from "@preact/signals";
import { api, ApiError } from "../services/api";
import { Cells } from "../services/cells";
import { cause, clock, milestone, uniqueName } from "../services/format";
import { storage } from "../services/storage";
import type { JobEvent, Params, SegmentState, Status } from "../services/types";
import { announce, messageOf } from "./messages";
import { heed, offline } from "./server";

export const jobId = signal<string | null>(null);
export const status = signal<Status | null>(null);
/** Why the job that was shown is not shown any more. */
export const lost = signal<string | null>(null);
export const cells = new Cells();
/** Changes with the cells. */
export const cellsVersion = signal(0);
export const submitting = signal(false);
export const submitError = signal<string | null>(null);
export const chosen = signal<number | null>(null);

const REFRESH_MS = 700;
const PAGE = 1000;
const AGAIN_MS = 2_000;
let refreshing: number | undefined;
let refreshedAt = 0;

export const isOver = (of: Status | null): boolean => of !== null && !["queued", "running"].includes(of.status);

/** Take up the job that this browser knew last. */
export function resume(): void {
  const stored = storage.job();
  if (stored) void show(stored.id);
}

/** Show a job, and keep showing it after a reload. */
export async function show(id: string, params: Params = {}): Promise<void> {
  batch(() => {
    jobId.value = id;
    status.value = null;
    lost.value = null;
    chosen.value = null;
    cells.resize(0);
    cellsVersion.value += 1;
  });
  const stored = storage.job();
  if (stored?.id !== id) storage.setJob(id, Date.now(), params);
  await catchUp();
}

/** Look at all that may have happened unheard. */
export async function catchUp(): Promise<void> {
  await refresh();
  if (jobId.value !== null) await loadCells(jobId.value);
}

/** Show no job. */
export function leave(reason: string | null = null): void {
  storage.clearJob();
  batch(() => {
    jobId.value = null;
    status.value = null;
    lost.value = reason;
    chosen.value = null;
  });
  if (reason) announce(reason);
}

/** Queue a text and show its job. A request whose answer is lost is sent again under the same name, and never makes two jobs. */
export async function submit(body: Params): Promise<boolean> {
  submitting.value = true;
  submitError.value = null;
  const name = uniqueName();
  try {
    for (let tries = 0; ; tries++) {
      try {
        const answer = await api.enqueue(body, name);
        storage.setJob(answer.job_id, Date.now(), body);
        announce("The text is queued.");
        void show(answer.job_id, body);
        return true;
      } catch (error) {
        heed(error);
        if (!(error instanceof ApiError) || !error.isOffline || tries >= 2) throw error;
        await new Promise((done) => setTimeout(done, 1000 * (tries + 1)));
      }
    }
  } catch (error) {
    submitError.value = messageOf(error);
    return false;
  } finally {
    submitting.value = false;
  }
}

/** Ask for the status, at most every so often; the last call is always heeded. */
export function refreshSoon(): void {
  if (refreshing !== undefined) return;
  const wait = Math.max(0, REFRESH_MS - (performance.now() - refreshedAt));
  refreshing = window.setTimeout(() => {
    refreshing = undefined;
    void refresh();
  }, wait);
}

export async function refresh(): Promise<void> {
  const id = jobId.value;
  if (id === null) return;
  refreshedAt = performance.now();
  try {
    const found = await api.status(id);
    offline.value = false;
    if (jobId.value === id) take(found);
  } catch (error) {
    heed(error);
    if (jobId.value === id && error instanceof ApiError && error.isGone) {
      leave(error.status === 404 ? "The server does not know this job any more." : "This job was deleted, or has expired.");
    }
  }
}

function take(found: Status): void {
  const before = status.value;
  batch(() => {
    if (found.segments.total > cells.length || isOver(found)) cells.resize(found.segments.total);
    if (found.status === "completed") cells.fill("done");
    else if (isOver(found)) cells.settle();
    cellsVersion.value += 1;
    status.value = found;
  });
  if (before === null || before.job_id !== found.job_id) return;
  if (before.status !== found.status) {
    announceEnd(found);
    void loadCells(found.job_id);
  } else {
    const mark = milestone(before.progress, found.progress);
    if (mark !== null) announce(`${mark} percent.`);
  }
}

function announceEnd(found: Status): void {
  const said: Record<Status["status"], string> = {
    queued: "Queued again.",
    running: "The first words are being spoken.",
    completed: `Finished: ${clock(found.result?.audio_seconds ?? found.audio_seconds)} of audio.`,
    failed: `Failed: ${cause(found.error ?? "the cause is unknown")}`,
    cancelled: "Cancelled.",
  };
  announce(said[found.status]);
}

/** What became of each segment so far; what comes is told by events. */
async function loadCells(id: string): Promise<void> {
  if (status.value === null || status.value.status === "completed") return;
  try {
    for (let start: number | null = cells.firstUndone(); start !== null && jobId.value === id; ) {
      const page: Awaited<ReturnType<typeof api.segments>> = await api.segments(id, start, PAGE);
      if (jobId.value !== id) return;
      cells.resize(Math.max(cells.length, page.total));
      for (const { index, status } of page.segments) if (cells.get(index) !== "done") mark(index, status);
      cellsVersion.value += 1;
      // they are spoken in order: behind a page of those that wait all wait
      start = page.segments.some((segment) => segment.status !== "pending") ? page.next_start : null;
    }
  } catch (error) {
    heed(error);
  }
}

/** Show what became of a segment; one that has failed is chosen. */
function mark(index: number, state: SegmentState): void {
  if (state === "failed" && cells.get(index) !== "failed") chosen.value ??= index;
  cells.set(index, state);
}

const CELL_OF: Record<string, SegmentState> = {
  "segment.started": "running",
  "segment.completed": "done",
  "segment.lost": "pending",
};

/** Something happened to some job. */
export function onEvent(event: JobEvent): void {
  if (event.job_id !== jobId.value) return;
  const index = event.data["index"];
  const state = event.type === "segment.failed" ? (event.data["final"] ? "failed" : "pending") : CELL_OF[event.type];
  if (state && typeof index === "number") {
    mark(index, state);
    cellsVersion.value += 1;
  }
  refreshSoon();
}

const WAIT_S = 20;

/** The status of a job at its end, whether events come or not. A server that is away for a while is waited for. */
export async function endOf(id: string): Promise<Status> {
  for (;;) {
    try {
      const found = await api.status(id, WAIT_S);
      if (isOver(found)) return found;
    } catch (error) {
      heed(error);
      if (!(error instanceof ApiError) || !error.isOffline) throw error;
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
}

async function act(work: (id: string) => Promise<unknown>): Promise<void> {
  const id = jobId.value;
  if (id === null) return;
  try {
    await work(id);
  } catch (error) {
    heed(error);
    submitError.value = messageOf(error);
  }
  await refresh();
}

export const cancel = (): Promise<void> => act((id) => api.cancel(id));

export const retry = (): Promise<void> =>
  act(async (id) => {
    await api.retry(id);
    void loadCells(id);
  });

export const keep = (kept: boolean): Promise<void> => act((id) => api.keep(id, kept));
