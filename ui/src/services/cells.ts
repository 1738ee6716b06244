/** The strip of segments: one state per segment, drawn as one row of cells however many there are. */
import type { SegmentState } from "./types";

export const STATES: readonly SegmentState[] = ["pending", "running", "done", "failed"];
const CODE: Record<SegmentState, number> = { pending: 0, running: 1, done: 2, failed: 3 };
/** When several segments share a cell, the one that matters most to see is shown. */
const RANK = [1, 2, 0, 3];

export class Cells {
  private codes = new Uint8Array(256);
  length = 0;

  resize(total: number): void {
    if (total > this.codes.length) {
      const larger = new Uint8Array(Math.max(total, this.codes.length * 2));
      larger.set(this.codes);
      this.codes = larger;
    }
    if (total < this.length) this.codes.fill(0, total, this.length);
    this.length = total;
  }

  set(index: number, state: SegmentState): void {
    if (index >= this.length) this.resize(index + 1);
    this.codes[index] = CODE[state];
  }

  get(index: number): SegmentState {
    return STATES[this.codes[index] ?? 0] ?? "pending";
  }

  /** The first that is not done; their number when all are. */
  firstUndone(): number {
    for (let i = 0; i < this.length; i++) if (this.codes[i] !== CODE.done) return i;
    return this.length;
  }

  fill(state: SegmentState): void {
    this.codes.fill(CODE[state], 0, this.length);
  }

  /** Those that were being spoken are not, any more. */
  settle(): void {
    for (let i = 0; i < this.length; i++) if (this.codes[i] === CODE.running) this.codes[i] = CODE.pending;
  }

  /** The state to draw for each of `columns` equal stretches, and what part of the stretch is done. */
  summary(columns: number): { state: SegmentState; done: number }[] {
    const cells: { state: SegmentState; done: number }[] = [];
    for (let column = 0; column < columns; column++) {
      const from = Math.floor((column * this.length) / columns);
      const to = Math.max(from + 1, Math.floor(((column + 1) * this.length) / columns));
      let code = CODE.done;
      let done = 0;
      for (let i = from; i < to; i++) {
        const own = this.codes[i] ?? 0;
        if (own === CODE.done) done += 1;
        if ((RANK[own] ?? 0) > (RANK[code] ?? 0)) code = own;
      }
      cells.push({ state: STATES[code] ?? "pending", done: done / (to - from) });
    }
    return cells;
  }
}
