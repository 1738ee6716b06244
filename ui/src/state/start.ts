/** Begin: read what the server is, take up the job that this browser knew, and listen to what happens. */
import { effect } from "@preact/signals";
import { EventFeed } from "../services/events";
import { catchUp, onEvent, resume, status } from "./current";
import { lists } from "./jobs";
import { begin, initial, live, loadEngine, mustSignIn, offline } from "./server";

const AGAIN_MS = 3_000;

export const feed = new EventFeed({
  event(event) {
    offline.value = false;
    onEvent(event);
    for (const list of lists) list.onEvent(event);
  },
  look() {
    void catchUp();
    for (const list of lists) list.soon();
  },
  live(now) {
    if (now && !live.value) void loadEngine().catch(() => undefined);
    live.value = now;
  },
});

let running = false;

export async function start(): Promise<void> {
  await begin();
  if (mustSignIn.value) return;
  if (initial.value === null) {
    setTimeout(() => void start(), AGAIN_MS);
    return;
  }
  if (!running) {
    running = true;
    feed.start();
    resume();
  }
}

/** The title of the tab tells how far it is. */
effect(() => {
  const title = initial.value?.config.ui.title ?? "Rhapsode";
  const now = status.value;
  const unfinished = now !== null && (now.status === "queued" || now.status === "running");
  document.title = unfinished ? `${Math.floor(now.progress)} % · ${title}` : title;
});
