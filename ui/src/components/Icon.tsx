/** The page's pictures, drawn with one pen. */

const PATHS: Record<string, string> = {
  play: "M7 4.500v15l12-7.500z",
  pause: "M7 5h3.500v14H7zM13.500 5H17v14h-3.500z",
  stop: "M6 6h12v12H6z",
  back: "M11 6 5 12l6 6M19 6l-6 6 6 6",
  forward: "M5 6l6 6-6 6M13 6l6 6-6 6",
  download: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  redo: "M19 12a7 7 0 1 1-2.200-5.100M19 3v4.500h-4.500",
  pin: "M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v5",
  dice: "M5 5h14v14H5zM9 9h.010M15 15h.010M15 9h.010M9 15h.010M12 12h.010",
  file: "M7 3h7l5 5v13H7zM14 3v5h5",
  ear: "M4 10v4h4l5 4V6L8 10zM16.500 9a4 4 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M19 5l-1.400 1.400M6.400 17.600 5 19",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z",
  close: "M6 6l12 12M18 6 6 18",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  plus: "M12 5v14M5 12h14",
};

const FILLED = new Set(["play", "pause", "stop"]);

export function Icon({ name }: { name: keyof typeof PATHS & string }) {
  return (
    <svg class={FILLED.has(name) ? "icon filled" : "icon"} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name] ?? ""} />
    </svg>
  );
}
