/** Which view is shown, and its parameters: both stand behind the # of the address. */
import { signal } from "@preact/signals";

export const VIEWS = ["studio", "queue", "history", "voices", "settings"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const view = VIEWS.find((one) => one === path) ?? "studio";
  return { view, query: new URLSearchParams(query) };
}

export function address(view: View, query: Record<string, string> = {}): string {
  const filled = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(filled).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export const route = signal<Route>(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/** Change the parameters of the view without a new entry in the browser's history. */
export function setQuery(query: Record<string, string>): void {
  history.replaceState(null, "", address(route.value.view, query));
  route.value = parse(location.hash);
}
