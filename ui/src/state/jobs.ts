/** Lists of jobs: the history with its filters, and the queue. */
import { signal } from "@preact/signals";
import { api } from "../services/api";
import type { JobEvent, Listed } from "../services/types";
import { messageOf } from "./messages";
import { heed, offline } from "./server";

const PAGE = 25;
const SOON_MS = 600;
const MOST = 500;
const PROGRESS_MS = 2_000;

type Answer = Awaited<ReturnType<typeof api.list>>;

/** One list, which is read anew soon after something happened. */
export class JobList {
  readonly jobs = signal<Listed[] | null>(null);
  readonly more = signal<string | null>(null);
  readonly error = signal<string | null>(null);
  readonly busy = signal(false);
  private filters: { q?: string; status?: string } = {};
  private timer: number | undefined;
  private turn = 0;
  private visible = false;

  constructor(private readonly page = PAGE) {}

  /** Show this from now on. */
  async show(filters: { q?: string; status?: string }): Promise<void> {
    const same = filters.q === this.filters.q && filters.status === this.filters.status;
    this.filters = filters;
    this.visible = true;
    if (!same) {
      this.jobs.value = null;
      this.more.value = null;
    }
    await this.read();
  }

  /** Nobody looks at it now. */
  hide(): void {
    this.visible = false;
  }

  /** Read the first page again, soon; what was read beyond it stays. */
  soon(ms = SOON_MS): void {
    if (this.timer !== undefined || !this.visible) return;
    this.timer = window.setTimeout(() => {
      this.timer = undefined;
      if (this.busy.value) this.soon();
      else void this.read();
    }, ms);
  }

  onEvent(event: JobEvent): void {
    if (event.type === "job.deleted" && this.jobs.value) {
      this.jobs.value = this.jobs.value.filter((job) => job.job_id !== event.job_id);
    } else this.soon(event.type.startsWith("segment.") || event.type === "plan.extended" ? PROGRESS_MS : SOON_MS);
  }

  async next(): Promise<void> {
    const cursor = this.more.value;
    if (!cursor || this.busy.value) return;
    await this.fetch(
      () => api.list({ ...this.filters, cursor, limit: this.page }),
      (found) => {
        const known = new Set(this.jobs.value?.map((job) => job.job_id));
        this.jobs.value = [...(this.jobs.value ?? []), ...found.jobs.filter((job) => !known.has(job.job_id))];
        this.more.value = found.next_cursor;
      },
    );
  }

  /** Read anew all that is shown. */
  private async read(): Promise<void> {
    await this.fetch(
      async () => {
        const wanted = Math.max(this.page, this.jobs.value?.length ?? 0);
        const found = await api.list({ ...this.filters, limit: Math.min(MOST, wanted) });
        while (found.next_cursor && found.jobs.length < wanted) {
          const further = await api.list({ ...this.filters, cursor: found.next_cursor, limit: Math.min(MOST, wanted - found.jobs.length) });
          found.jobs.push(...further.jobs);
          found.next_cursor = further.next_cursor;
        }
        return found;
      },
      (found) => {
        this.jobs.value = found.jobs;
        this.more.value = found.next_cursor;
      },
    );
  }

  /** Ask, and take the answer, unless something else was asked meanwhile. */
  private async fetch(ask: () => Promise<Answer>, take: (found: Answer) => void): Promise<void> {
    const turn = ++this.turn;
    this.busy.value = true;
    try {
      const found = await ask();
      if (turn !== this.turn) return;
      take(found);
      this.error.value = null;
      offline.value = false;
    } catch (error) {
      heed(error);
      if (turn === this.turn) this.error.value = messageOf(error);
    } finally {
      if (turn === this.turn) this.busy.value = false;
    }
  }
}

export const recent = new JobList(6);
export const historyList = new JobList();
/** What runs, and what waits: two lists, for the newest of many that wait would hide what runs. */
export const running = new JobList(200);
export const queue = new JobList(200);
export const lists = [recent, historyList, running, queue];
