import { beforeAll, describe, expect, it, vi } from "vitest";

let parse: typeof import("../src/state/route").parse;
let address: typeof import("../src/state/route").address;

beforeAll(async () => {
  vi.stubGlobal("location", { hash: "" });
  vi.stubGlobal("addEventListener", () => undefined);
  ({ parse, address } = await import("../src/state/route"));
});

describe("the address of a view", () => {
  it("comes back as it went", () => {
    const found = parse(address("history", { q: "white whale & co", status: "failed", empty: "" }));
    expect(found.view).toBe("history");
    expect([...found.query]).toEqual([["q", "white whale & co"], ["status", "failed"]]);
  });
  it.each(["", "#", "#/", "#/nowhere", "#?x=1", "#/studio?"])("of %j is the studio", (hash) => expect(parse(hash).view).toBe("studio"));
});
