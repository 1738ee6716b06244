/** All segments in one strip, however many: what waits, is being spoken, is done, has failed. Choose one by pointer or keys. */
import { useEffect, useRef } from "preact/hooks";
import { count } from "../services/format";
import type { Status } from "../services/types";
import { cells, cellsVersion, chosen } from "../state/current";

const HEIGHT = 34;
const NARROWEST = 3;

function paint(canvas: HTMLCanvasElement): void {
  const width = canvas.clientWidth;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT * scale);
  }
  const pen = canvas.getContext("2d");
  if (!pen || width === 0) return;
  const style = getComputedStyle(canvas);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const colours = { pending: colour("--cell-pending"), running: colour("--cell-running"), done: colour("--cell-done"), failed: colour("--cell-failed") };
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, HEIGHT);
  const columns = Math.min(Math.max(cells.length, 1), Math.floor(width / NARROWEST));
  const step = width / columns;
  const gap = step > 5 ? 1.5 : step > 3.5 ? 1 : 0;
  cells.summary(columns).forEach((cell, column) => {
    const x = column * step;
    pen.fillStyle = colours.pending;
    pen.fillRect(x, 6, step - gap, HEIGHT - 12);
    if (cell.state === "pending" && cell.done > 0) {
      pen.fillStyle = colours.done;
      pen.globalAlpha = 0.35 + 0.65 * cell.done;
    } else pen.fillStyle = colours[cell.state];
    const inset = cell.state === "running" || cell.state === "failed" ? 2 : 6;
    if (cells.length) pen.fillRect(x, inset, step - gap, HEIGHT - 2 * inset);
    pen.globalAlpha = 1;
  });
  if (chosen.value !== null && cells.length) {
    const x = Math.floor((chosen.value * columns) / cells.length) * step;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 2;
    pen.strokeRect(x + 0.5, 1, Math.max(step - gap - 1, 3), HEIGHT - 2);
  }
}

export function Strip({ now }: { now: Status }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef(0);
  const version = cellsVersion.value;
  const picked = chosen.value;
  useEffect(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => canvas.current && paint(canvas.current));
  }, [version, picked]);
  useEffect(() => {
    const again = (): void => {
      if (canvas.current) paint(canvas.current);
    };
    const sizes = new ResizeObserver(again);
    const theme = new MutationObserver(again);
    if (canvas.current) sizes.observe(canvas.current);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      sizes.disconnect();
      theme.disconnect();
    };
  }, []);
  const total = cells.length;
  const choose = (index: number): void => {
    if (total) chosen.value = Math.min(Math.max(index, 0), total - 1);
  };
  const onPointer = (event: PointerEvent): void => {
    const box = canvas.current?.getBoundingClientRect();
    if (!box || !total) return;
    const columns = Math.min(total, Math.floor(box.width / NARROWEST));
    const column = Math.floor(((event.clientX - box.left) * columns) / box.width);
    if (column < columns) choose(Math.floor((column * total) / columns));
  };
  const onKey = (event: KeyboardEvent): void => {
    const at = chosen.value ?? -1;
    const moves: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      PageDown: at + 10,
      PageUp: at - 10,
      Home: 0,
      End: total - 1,
    };
    if (event.key === "Escape") chosen.value = null;
    const next = moves[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(next);
  };
  const said = picked === null ? "none chosen" : `segment ${picked + 1} of ${total}, ${cells.get(picked)}`;
  return (
    <div class="strip">
      <div
        role="slider"
        tabIndex={0}
        aria-label="Segments"
        aria-valuemin={total ? 1 : 0}
        aria-valuemax={total}
        aria-valuenow={picked === null ? (total ? 1 : 0) : picked + 1}
        aria-valuetext={said}
        onKeyDown={onKey}
        onPointerDown={onPointer}
      >
        <canvas ref={canvas} aria-hidden="true" />
      </div>
      <p class="hint">
        <span class="key done" /> done <span class="key running" /> speaking <span class="key pending" /> waiting{" "}
        {now.segments.failed > 0 && (<><span class="key failed" /> failed </>)}
        <span class="spread">{total ? `${count(total, "segment")}: choose one to see and hear it` : ""}</span>
      </p>
    </div>
  );
}
