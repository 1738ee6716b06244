import { describe, expect, it } from "vitest";
import { Backoff, WAITS_S } from "../src/services/backoff";
import { Cells } from "../src/services/cells";
import { clock, count, duration, lastAtOrBefore, milestone, plainOfMarkdown, size, uniqueName } from "../src/services/format";

describe("numbers for people", () => {
  it.each([[0, "0:00"], [75, "1:15"], [3700, "1:01:40"], [-3, "0:00"], [59.9, "0:59"]])("clock %d", (seconds, said) => expect(clock(seconds)).toBe(said));
  it.each([[0.2, "1 s"], [40, "40 s"], [90, "2 min"], [3600, "1 h"], [5000, "1 h 23 min"]])("duration %d", (seconds, said) => expect(duration(seconds)).toBe(said));
  it.each([[0, "0 B"], [999, "999 B"], [1500, "1.5 kB"], [63_000_000, "63 MB"], [2.5e15, "2500 TB"]])("size %d", (bytes, said) => expect(size(bytes)).toBe(said));
  it("counts", () => expect([count(1, "job"), count(0, "job")]).toEqual(["1 job", "0 jobs"]));
});

describe("milestones", () => {
  it.each([[0, 24, null], [0, 25, 25], [24, 80, 75], [25, 49, null], [49, 50, 50], [75, 99, null]])("%d to %d", (from, to, mark) => expect(milestone(from, to)).toBe(mark));
});

describe("the place in the text", () => {
  const starts = [0, 1.5, 3, 3, 9];
  it.each([[-1, -1], [0, 0], [1.4, 0], [3, 3], [8.9, 3], [100, 4]])("at %d", (at, index) => expect(lastAtOrBefore(starts, at)).toBe(index));
  it("of nothing", () => expect(lastAtOrBefore([], 5)).toBe(-1));
});

describe("markdown", () => {
  it("loses its marks and keeps its words", () => {
    const text = "# The *Sea*\n\n> It was **dark**, and _cold_.\n\n- one\n2. two\n\n![a boat](b.png) [the harbour](http://x.y/z) `now`\n\n---\n```js\ncode();\n```\nEnd.";
    expect(plainOfMarkdown(text)).toBe("The Sea\n\nIt was dark, and cold.\n\none\ntwo\n\na boat the harbour now\n\nEnd.");
  });
  it("leaves plain text alone", () => {
    const text = "2 * 3 * 4 is 24. snake_case_name stays.\n(See [1].)";
    expect(plainOfMarkdown(text)).toBe(text);
  });
  it.each(["*", "_", "[", "![", "`", "# ", "**a", "[a]("])("takes a megabyte of %s", (mark) => {
    const many = (mark.repeat(100) + "\n").repeat(Math.ceil(1e6 / (mark.length * 100)));
    expect(plainOfMarkdown(many).length).toBeLessThanOrEqual(many.length);
  });
});

describe("the pauses between questions", () => {
  it("grow as the contract says, and begin anew", () => {
    const backoff = new Backoff();
    expect([...Array(7)].map(() => backoff.next() / 1000)).toEqual([...WAITS_S, 10, 10]);
    backoff.reset();
    expect(backoff.next()).toBe(1000);
  });
});

describe("the strip of segments", () => {
  it("keeps one state per segment", () => {
    const cells = new Cells();
    cells.resize(3);
    cells.set(1, "done");
    cells.set(500, "running");
    expect([cells.length, cells.get(0), cells.get(1), cells.get(500), cells.get(9999)]).toEqual([501, "pending", "done", "running", "pending"]);
    cells.settle();
    expect(cells.get(500)).toBe("pending");
    cells.resize(1);
    cells.resize(501);
    expect(cells.get(1)).toBe("pending");
  });
  it("shows what matters most where several share a cell", () => {
    const cells = new Cells();
    cells.resize(8);
    for (const n of [0, 1, 2, 4, 6]) cells.set(n, "done");
    cells.set(5, "running");
    cells.set(7, "failed");
    expect(cells.summary(4)).toEqual([
      { state: "done", done: 1 },
      { state: "pending", done: 0.5 },
      { state: "running", done: 0.5 },
      { state: "failed", done: 0.5 },
    ]);
  });
  it("draws 40,000 segments in a few hundred cells that cover them all", () => {
    const cells = new Cells();
    cells.resize(40_000);
    cells.fill("done");
    cells.set(39_999, "failed");
    const drawn = cells.summary(300);
    expect(drawn).toHaveLength(300);
    expect(drawn[299]?.state).toBe("failed");
    expect(drawn.slice(0, 299).every((cell) => cell.state === "done" && cell.done === 1)).toBe(true);
  });
});

it("names are unique", () => {
  expect(new Set([...Array(1000)].map(uniqueName)).size).toBe(1000);
});
