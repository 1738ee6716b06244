/**
 * What happens to all jobs, as it happens. One stream per visible tab: browsers allow few connections per server. Where the stream
 * fails, listeners are told to look for themselves, at growing intervals, and the stream is tried again.
 */
import { Backoff } from "./backoff";
import type { JobEvent } from "./types";

const TYPES = [
  "job.queued", "job.started", "plan.extended", "segment.started", "segment.completed", "segment.failed", "segment.lost",
  "job.warning", "job.kept", "job.updated", "job.retried", "job.completed", "job.failed", "job.cancelled", "job.deleted",
  "redo.queued", "redo.failed", "redo.cancelled", "result.revised",
];
const HIDDEN_MS = 10_000;

export interface Listener {
  /** Something happened. */
  event(event: JobEvent): void;
  /** Perhaps something happened that nobody told of: look. */
  look(): void;
  /** Whether events come as they happen. */
  live(live: boolean): void;
}

export class EventFeed {
  private source: EventSource | null = null;
  private cursor: string | null = null;
  private timer: number | undefined;
  private readonly backoff = new Backoff();

  constructor(private readonly listener: Listener) {}

  start(): void {
    document.addEventListener("visibilitychange", this.onVisibility);
    addEventListener("online", this.retryNow);
    this.open();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.onVisibility);
    removeEventListener("online", this.retryNow);
    this.close();
  }

  /** Look now, and again soon if the stream is down: the user did something. */
  readonly retryNow = (): void => {
    this.backoff.reset();
    if (this.source === null && !document.hidden) this.open();
    else this.listener.look();
  };

  private readonly onVisibility = (): void => {
    if (document.hidden) {
      this.close();
      this.wait(HIDDEN_MS);
    } else {
      this.backoff.reset();
      this.open();
    }
  };

  private open(): void {
    this.close();
    const source = new EventSource(this.cursor ? `events?cursor=${encodeURIComponent(this.cursor)}` : "events");
    this.source = source;
    source.addEventListener("hello", (message) => {
      this.heard(message);
      this.backoff.reset();
      this.listener.live(true);
      this.listener.look();
    });
    source.addEventListener("resync", (message) => {
      this.heard(message);
      this.listener.look();
    });
    for (const type of TYPES) {
      source.addEventListener(type, (message: MessageEvent<string>) => {
        this.heard(message);
        this.listener.event(JSON.parse(message.data) as JobEvent);
      });
    }
    source.onerror = () => {
      this.close();
      this.listener.live(false);
      this.wait(this.backoff.next());
    };
  }

  private heard(message: MessageEvent<string>): void {
    if (message.lastEventId) this.cursor = message.lastEventId;
  }

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** Look after a while, and then try the stream again. */
  private wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.listener.look();
      if (document.hidden) this.wait(HIDDEN_MS);
      else this.open();
    }, ms);
  }
}
