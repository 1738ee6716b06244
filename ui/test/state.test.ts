import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { cause } from "../src/services/format";
import type { Listed, SegmentState, Status } from "../src/services/types";

type Answer = (url: URL) => unknown;

let answer: Answer;
let current: typeof import("../src/state/current");
let JobList: typeof import("../src/state/jobs").JobList;

beforeAll(async () => {
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined });
  vi.stubGlobal("fetch", async (path: string) => Response.json(await answer(new URL(path, "http://here/"))));
  current = await import("../src/state/current");
  ({ JobList } = await import("../src/state/jobs"));
});

const listed = (id: number): Listed => ({ job_id: `${id}`, status: "queued" }) as Listed;

describe("a list of jobs", () => {
  it("is that of the last filter, whichever answer comes last", async () => {
    const waiting: (() => void)[] = [];
    answer = (url) => new Promise((done) => waiting.push(() => done({ jobs: [{ job_id: url.searchParams.get("q") }], next_cursor: null })));
    const list = new JobList();
    const shown = [list.show({ q: "old" }), list.show({ q: "new" })];
    while (waiting.length < 2) await Promise.resolve();
    waiting[1]?.();
    await shown[1];
    waiting[0]?.();
    await shown[0];
    expect(list.jobs.value?.map((job) => job.job_id)).toEqual(["new"]);
    expect(list.busy.value).toBe(false);
  });

  it("keeps all that was read, however much, when it is read anew", async () => {
    const all = Array.from({ length: 1300 }, (_, n) => listed(n));
    answer = (url) => {
      const start = Number(url.searchParams.get("cursor") ?? 0);
      const end = start + Math.min(500, Number(url.searchParams.get("limit")));
      return { jobs: all.slice(start, end), next_cursor: end < all.length ? `${end}` : null };
    };
    const list = new JobList(400);
    await list.show({});
    await list.next();
    expect(list.jobs.value).toHaveLength(800);
    await list.show({});
    expect(list.jobs.value?.map((job) => job.job_id)).toEqual(all.slice(0, 800).map((job) => job.job_id));
    expect(list.more.value).toBe("800");
  });
});

describe("the job that is shown", () => {
  let states: SegmentState[];
  let status: Status["status"];
  let asked: string[];
  beforeEach(async () => {
    states = ["done", "pending", "pending"];
    status = "running";
    asked = [];
    answer = (url) => {
      asked.push(url.pathname);
      if (url.pathname.endsWith("/status")) return { job_id: "a", status, progress: 0, segments: { total: states.length, done: 1, failed: 0, planned: true } };
      return { segments: states.map((state, index) => ({ index, status: state })), next_start: null, total: states.length };
    };
    await current.show("a");
  });
  afterEach(() => current.leave());
  const shown = (): SegmentState[] => [0, 1, 2].map((index) => current.cells.get(index));
  const failed = (final: boolean): void => current.onEvent({ job_id: "a", seq: 1, type: "segment.failed", data: { index: 1, final } });

  it("shows and chooses the segment that has failed for good, and no other", () => {
    failed(false);
    expect([shown(), current.chosen.value]).toEqual([["done", "pending", "pending"], null]);
    failed(true);
    expect([shown(), current.chosen.value]).toEqual([["done", "failed", "pending"], 1]);
  });

  it("tells of its segments without events, too, and lets a closed one be closed", async () => {
    states = ["done", "done", "failed"];
    status = "failed";
    await current.refresh();
    await vi.waitFor(() => expect([shown(), current.chosen.value]).toEqual([states, 2]));
    current.chosen.value = null;
    await current.catchUp();
    expect(current.chosen.value).toBe(null);
  });

  it("shows what was spoken unheard", async () => {
    states = ["done", "done", "running"];
    await current.catchUp();
    expect(shown()).toEqual(states);
  });

  it("asks no further than behind a page of segments that wait", async () => {
    asked = [];
    answer = (url) => {
      asked.push(url.search);
      const start = Number(url.searchParams.get("start"));
      if (url.pathname.endsWith("/status")) return { job_id: "a", status, progress: 0, segments: { total: 5000, done: 1, failed: 0, planned: true } };
      return { segments: [{ index: start, status: start === 1 ? "running" : "pending" }], next_start: start + 1000, total: 5000 };
    };
    await current.catchUp();
    expect(asked.filter((one) => one.includes("start"))).toEqual(["?start=1&limit=1000", "?start=1001&limit=1000"]);
  });
});

it("segments are counted from 1 in what went wrong", () => {
  expect(cause("segment 9 ('Segment 3 it is.') failed 1 times: segment 4")).toBe("segment 10 ('Segment 3 it is.') failed 1 times: segment 4");
  expect(cause("The voice is gone.")).toBe("The voice is gone.");
});
